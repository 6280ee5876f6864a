// Threads that work on one job at a time, and sleep between jobs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The thread that has a job works on it as member 0; helpers join as members 1, 2, …. A helper that
// wakes late finds the job closed, and nobody waits for it: so jobs must not need all members.
//
// Helpers spin for SPIN after a job, because waking one takes about 50 microseconds, and then sleep.
// OpenMP's threads spin for milliseconds, in which they take the processors from others.
class Team {
 public:
  // One for the process; its threads end with it.
  static Team& of_process() {
    static Team* const team = new Team;
    return *team;
  }

  // Call job(member) on this thread, and on up to `members` - 1 others at the same time. Alone where
  // another thread has the team: then the processors are busy.
  template <typename Job>
  void run(int members, const Job& job) {
    std::unique_lock<std::mutex> lock(in_use, std::try_to_lock);
    if (members < 2 || !lock.owns_lock()) return job(0);
    hire(members - 1);
    call = [](const void* given, int member) { (*(const Job*)given)(member); };
    given = &job;
    const uint32_t number = jobs.load(std::memory_order_relaxed) + 1;
    // After this helpers may join, and read what was written above.
    gate.store(Gate{number, uint16_t(members - 1), 0}.pack(), std::memory_order_release);
    jobs.store(number, std::memory_order_release);
    jobs.notify_all();
    job(0);
    // Nobody joins any more, and those that did are waited for.
    uint64_t seen = gate.load(std::memory_order_relaxed);
    while (!gate.compare_exchange_weak(seen, Gate::unpack(seen).close().pack())) {
    }
    while (Gate::unpack(gate.load(std::memory_order_acquire)).inside > 0) pause_briefly();
  }

 private:
  static constexpr std::chrono::microseconds SPIN{200};
  static constexpr int LOOKS = 64;  // at the job, for one at the clock

  // Who may join the job of this number, and who is in it.
  struct Gate {
    uint32_t number;
    uint16_t places, inside;

    uint64_t pack() const { return uint64_t(number) << 32 | uint64_t(places) << 16 | inside; }
    static Gate unpack(uint64_t packed) {
      return {uint32_t(packed >> 32), uint16_t(packed >> 16), uint16_t(packed)};
    }
    Gate close() const { return {number, 0, inside}; }
    Gate join() const { return {number, uint16_t(places - 1), uint16_t(inside + 1)}; }
    Gate leave() const { return {number, places, uint16_t(inside - 1)}; }
  };

  std::mutex in_use;
  std::atomic<uint32_t> jobs{0};  // how many there were: the number of the newest
  std::atomic<uint64_t> gate{0};
  void (*call)(const void*, int) = nullptr;
  const void* given = nullptr;
  int helpers = 0;

  // Have so many helpers, or as many as the system gives.
  void hire(int count) {
    try {
      for (; helpers < count; ++helpers)
        std::thread([this, seen = jobs.load()] { help(seen); }).detach();
    } catch (const std::system_error&) {
    }
  }

  void help(uint32_t seen) {
    while (true) {
      seen = wait_for_job(seen);
      uint64_t packed = gate.load(std::memory_order_acquire);
      Gate now = Gate::unpack(packed);
      while (now.number == seen && now.places > 0 &&
             !gate.compare_exchange_weak(packed, now.join().pack(), std::memory_order_acq_rel))
        now = Gate::unpack(packed);
      if (now.number != seen || now.places == 0) continue;
      call(given, now.places);
      packed = gate.load(std::memory_order_relaxed);
      while (!gate.compare_exchange_weak(packed, Gate::unpack(packed).leave().pack(),
                                         std::memory_order_acq_rel)) {
      }
    }
  }

  // The number of a job after the one that was seen.
  uint32_t wait_for_job(uint32_t seen) {
    const auto end = std::chrono::steady_clock::now() + SPIN;
    do {
      for (int look = 0; look < LOOKS; ++look, pause_briefly())
        if (const uint32_t now = jobs.load(std::memory_order_acquire); now != seen) return now;
    } while (std::chrono::steady_clock::now() < end);
    jobs.wait(seen, std::memory_order_acquire);
    return jobs.load(std::memory_order_acquire);
  }
};
