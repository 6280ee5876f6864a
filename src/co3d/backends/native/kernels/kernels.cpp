// The step runtime: runs a list of operations with a team of threads.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>

#include "convolve.hpp"
#include "deep.hpp"
#include "depthwise.hpp"
#include "frames.hpp"
#include "maps.hpp"
#include "operation.hpp"
#include "pictures.hpp"
#include "nchw.hpp"
#include "rings.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

namespace {

// An operation is divided into 1 or an even number of chunks of at least LEAST_WORK (about
// multiply-accumulates). The number does not depend on the threads, so that sums do not either.
constexpr long MOST_CHUNKS = 16, LEAST_WORK = 400000;

template <typename T>
long count_chunks(const Operation& op) {
  long taps = long(op.kernel_height) * op.kernel_width;
  long area = long(op.batch) * op.out_height * op.out_width * op.out_channels;
  long units = 1, work = 0;
  if (op.kind == CONVOLVE) {
    units = op.is_nchw ? NchwConvolution<T>::count_units(op) : Convolution<T>::count_units(op);
    work = area * taps * op.in_channels;
  } else if (op.kind == SUM_DEPTHWISE) {
    units = DepthwiseSum<T>::count_units(op);
    work = area * (taps * op.source_count * 2 + 10) * (1 + op.additional_count);
  } else if (op.kind == SELECT) {
    units = long(op.height) * op.width * op.out_channels / 64;
    work = units * 64 * 10;
  } else if (op.kind == MAX_POOL) {
    units = long(op.batch) * op.out_height;
    work = area * taps * op.source_count * 2;
  }
  long chunks = std::min({units, MOST_CHUNKS, work / LEAST_WORK});
  return chunks < 2 ? 1 : chunks / 2 * 2;
}

// Operations between two barriers, and their progress. Consecutive operations of one chunk, such as
// the layers of a gate, form one stage, which saves barriers.
//
// Each thread takes the same part of the map in all operations, because that part is in its cache;
// when its own chunks are done, it takes chunks of other threads (work stealing).
struct Stage {
  const Operation *first, *last;  // inclusive
  long chunks;
  std::atomic<long> done{0};
  std::atomic<int> taken[MOST_CHUNKS] = {};

  Stage(const Operation* only, long chunks) : first(only), last(only), chunks(chunks) {}

  // The next chunk for a thread, or -1 when all are taken.
  long take(int thread, int threads) {
    for (int i = 0; i < threads; ++i) {
      int owner = (thread + i) % threads;
      WorkRange range(chunks, owner, threads);
      if (taken[owner].load(std::memory_order_relaxed) >= range.end - range.begin) continue;
      long chunk = range.begin + taken[owner].fetch_add(1, std::memory_order_relaxed);
      if (chunk < range.end) return chunk;
    }
    return -1;
  }
};

template <typename T>
void run_chunk(const Operation& op, void* const* buffers, long chunk, long chunks) {
  static thread_local Scratch scratch;
  switch (op.kind) {
    case CONVOLVE:
      if (op.is_nchw) return NchwConvolution<T>(op, buffers).run(chunk, chunks, scratch);
      if (DeepConvolution<T>::suits(op, buffers))
        return DeepConvolution<T>(op, buffers).run(chunk, chunks, scratch);
      return Convolution<T>(op, buffers).run(chunk, chunks, scratch);
    case SUM_DEPTHWISE:
      return DepthwiseSum<T>(op, buffers).run(chunk, chunks, scratch);
    case MEAN:
      return finish_mean<T>(op, buffers);
    case SELECT:
      return select_rows<T>(op, buffers, chunk, chunks);
    case MAX_POOL:
      return max_pool<T>(op, buffers, chunk, chunks);
  }
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Run all operations on the calling thread, chunk by chunk, so that sums are rounded as with
// several threads.
template <typename T>
void run_on_one_thread(const Operation* ops, long count, void* const* buffers) {
  for (const Operation* op = ops; op < ops + count; ++op) {
    const long chunks = count_chunks<T>(*op);
    for (long chunk = 0; chunk < chunks; ++chunk) run_chunk<T>(*op, buffers, chunk, chunks);
  }
}

// A stage ends when all chunks are done, not when all threads have arrived. A thread that the
// system preempts delays the others only if it is in the middle of a chunk.
//
// OpenMP's threads are PyTorch's own where both use the same library. Other threads would compete
// for the cores with PyTorch's, which spin for milliseconds after each operator.
template <typename T>
void run_all(const Operation* ops, long count, void* const* buffers, int threads) {
  constexpr int SPINS_BEFORE_YIELD = 2000;
  if (threads == 1) return run_on_one_thread<T>(ops, count, buffers);
  std::deque<Stage> stages;
  for (const Operation* op = ops; op < ops + count; ++op) {
    const long chunks = count_chunks<T>(*op);
    if (chunks == 1 && !stages.empty() && stages.back().chunks == 1)
      stages.back().last = op;
    else
      stages.emplace_back(op, chunks);
  }
#pragma omp parallel num_threads(int(std::min<long>(threads, MOST_CHUNKS)))
  for (Stage& stage : stages) {
    for (long chunk; (chunk = stage.take(omp_get_thread_num(), omp_get_num_threads())) >= 0;) {
      for (const Operation* op = stage.first; op <= stage.last; ++op)
        run_chunk<T>(*op, buffers, chunk, stage.chunks);
      stage.done.fetch_add(1, std::memory_order_release);
    }
    for (int tries = 0; stage.done.load(std::memory_order_acquire) < stage.chunks; ++tries) {
      pause_briefly();
      if (tries > SPINS_BEFORE_YIELD) std::this_thread::yield();
    }
  }
}

// The part of a step that does not depend on the slot.
struct StepPlan {
  const Operation* operations;
  long count;
  Exchange exchange;
  int32_t frames, results;
  const int32_t* frame_places;   // per frame, its index in the table
  const int64_t* frame_areas;    // per frame, its pixels if it is copied to NHWC; 0: read as given
  const int32_t* result_places;
};

// Step several slots. As many slots as there are threads step at a time, each on one thread, which
// takes the next slot when it has done one; the remaining slots step one by one on all threads.
// `tables` and `spares` have an entry per thread (one entry where there are fewer slots than
// threads); `slots`, `frames` and `results` have an entry, or several, per slot.
template <typename T>
void step_slots(const StepPlan& plan, void** const* tables, void** const* spares, int threads,
                const Elements* slots, void* const* frames, void* const* results, long count) {
  auto step = [&](long i, int worker, int team) {
    void** const table = tables[worker];
    bind_elements(table, plan.exchange, slots[i], spares[worker]);
    for (int32_t f = 0; f < plan.frames; ++f) {
      void* const given = frames[i * plan.frames + f];
      if (plan.frame_areas[f])
        lay_out_frame((const float*)given, (T*)table[plan.frame_places[f]], plan.frame_areas[f]);
      else
        table[plan.frame_places[f]] = given;
    }
    for (int32_t r = 0; r < plan.results; ++r)
      table[plan.result_places[r]] = results[i * plan.results + r];
    run_all<T>(plan.operations, plan.count, table, team);
    advance_elements(plan.exchange, slots[i], spares[worker]);
  };
  const long together = count - count % threads;
  std::atomic<long> next{0};
  auto work = [&](int worker) {
    for (long i; (i = next.fetch_add(1, std::memory_order_relaxed)) < together;) step(i, worker, 1);
  };
  if (threads == 1) return work(0);
  if (together) {
#pragma omp parallel num_threads(threads)
    work(omp_get_thread_num());
  }
  for (long i = together; i < count; ++i) step(i, 0, threads);
}

}  // namespace

extern "C" {

int co3d_lanes() { return LANES; }

// How many bfloat16 inputs one instruction multiplies and sums; 1 where it multiplies floats.
int co3d_dense_depth() { return DenseFactor<BFloat16>::DEPTH; }
int co3d_depthwise_depth() { return DepthwiseFactor<BFloat16>::DEPTH; }

// The number of chunks of an operation, which is the number of partial sums that it leaves.
long co3d_count_chunks(const Operation* op, int is_bfloat16) {
  return is_bfloat16 ? count_chunks<BFloat16>(*op) : count_chunks<float>(*op);
}

long co3d_operation_bytes() { return sizeof(Operation); }

void co3d_run(const Operation* ops, long count, void* const* buffers, int threads,
              int is_bfloat16) {
  if (is_bfloat16)
    run_all<BFloat16>(ops, count, buffers, threads);
  else
    run_all<float>(ops, count, buffers, threads);
}

void co3d_bind(void** table, const StepPlan* plan, const Elements* slot, void* const* spares) {
  bind_elements(table, plan->exchange, *slot, spares);
}

void co3d_advance(const StepPlan* plan, const Elements* slot, void** spares) {
  advance_elements(plan->exchange, *slot, spares);
}

void co3d_step_slots(const StepPlan* plan, void** const* tables, void** const* spares, int threads,
                     const Elements* slots, void* const* frames, void* const* results, long count,
                     int is_bfloat16) {
  if (is_bfloat16)
    step_slots<BFloat16>(*plan, tables, spares, threads, slots, frames, results, count);
  else
    step_slots<float>(*plan, tables, spares, threads, slots, frames, results, count);
}

// The size of the struct, which exchange_table.py compares with its own.
long co3d_step_plan_bytes() { return sizeof(StepPlan); }

// Copy frames of three channels from NCHW to a map in NHWC.
void co3d_lay_out_frames(const float* frame, void* map, long frames, long area, int is_bfloat16) {
  for (long i = 0; i < 3 * area * frames; i += 3 * area)
    if (is_bfloat16)
      lay_out_frame(frame + i, (BFloat16*)map + i, area);
    else
      lay_out_frame(frame + i, (float*)map + i, area);
}

// Scale, crop and normalise pictures, one after the other; see `prepare_picture`.
void co3d_prepare_pictures(const Picture* pictures, long count, const float* table, float* frame) {
  static thread_local Scratch scratch;
  for (long i = 0; i < count; ++i) {
    prepare_picture(pictures[i], table, frame, scratch);
    frame += COLOURS * long(pictures[i].rows->count) * pictures[i].columns->count;
  }
}

}  // extern "C"
