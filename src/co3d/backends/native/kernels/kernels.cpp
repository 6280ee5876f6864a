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
#include "planes.hpp"
#include "rings.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "vectors.hpp"

namespace {

// Chunks of an operation: large enough to be worth handing out, even in number where there are
// several, and the same for any number of threads, so that sums do not depend on it.
constexpr long MOST_CHUNKS = 16, LEAST_WORK = 400000;

template <typename T>
long count_chunks(const Operation& op) {
  long taps = long(op.kernel_height) * op.kernel_width;
  long area = long(op.batch) * op.out_height * op.out_width * op.out_channels;
  long units = 1, work = 0;
  if (op.kind == CONVOLVE) {
    units = op.is_planes ? PlaneConvolution<T>::count_units(op) : Convolution<T>::count_units(op);
    work = area * taps * op.in_channels;
  } else if (op.kind == SUM_DEPTHWISE) {
    units = DepthwiseSum<T>::count_units(op);
    work = area * (taps * op.source_count * 2 + 10) * (1 + op.beside_count);
  } else if (op.kind == SELECT) {
    units = long(op.height) * op.width * op.out_channels / 64;
    work = units * 64 * 10;
  } else if (op.kind == GREATEST) {
    units = long(op.batch) * op.out_height;
    work = area * taps * op.source_count * 2;
  }
  long chunks = std::min({units, MOST_CHUNKS, work / LEAST_WORK});
  return chunks < 2 ? 1 : chunks / 2 * 2;
}

// Operations that are run together, and how far they are. Those of one chunk that follow each other,
// as the layers of a gate do, are one stage: threads wait for each other once and not after each.
//
// Each thread has a share of a stage's chunks, the same part of the map in all operations, for its
// cache holds that part; when it is through with them it helps the others.
struct Stage {
  const Operation *first, *last;  // all of them
  long chunks;
  std::atomic<long> done{0};
  std::atomic<int> taken[MOST_CHUNKS] = {};

  Stage(const Operation* only, long chunks) : first(only), last(only), chunks(chunks) {}

  // The next chunk for a thread, or -1 when all are taken.
  long take(int thread, int threads) {
    for (int i = 0; i < threads; ++i) {
      int owner = (thread + i) % threads;
      Share share(chunks, owner, threads);
      if (taken[owner].load(std::memory_order_relaxed) >= share.end - share.begin) continue;
      long chunk = share.begin + taken[owner].fetch_add(1, std::memory_order_relaxed);
      if (chunk < share.end) return chunk;
    }
    return -1;
  }
};

template <typename T>
void run_chunk(const Operation& op, void* const* buffers, long chunk, long chunks) {
  static thread_local Scratch scratch;
  switch (op.kind) {
    case CONVOLVE:
      if (op.is_planes) return PlaneConvolution<T>(op, buffers).run(chunk, chunks, scratch);
      if (DeepConvolution<T>::suits(op, buffers))
        return DeepConvolution<T>(op, buffers).run(chunk, chunks, scratch);
      return Convolution<T>(op, buffers).run(chunk, chunks, scratch);
    case SUM_DEPTHWISE:
      return DepthwiseSum<T>(op, buffers).run(chunk, chunks, scratch);
    case MEAN:
      return take_mean<T>(op, buffers);
    case SELECT:
      return select_rows<T>(op, buffers, chunk, chunks);
    case GREATEST:
      return find_greatest<T>(op, buffers, chunk, chunks);
  }
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// All operations on the thread that calls, chunk by chunk, so that sums are those of any number of
// threads.
template <typename T>
void run_alone(const Operation* ops, long count, void* const* buffers) {
  for (const Operation* op = ops; op < ops + count; ++op) {
    const long chunks = count_chunks<T>(*op);
    for (long chunk = 0; chunk < chunks; ++chunk) run_chunk<T>(*op, buffers, chunk, chunks);
  }
}

// A stage is over when its chunks are, not when all threads have come: one that has to leave its
// processor to another program holds the others up only if it leaves in the middle of a chunk.
//
// The threads are PyTorch's own where both use the same OpenMP library. Threads of ours would have
// to share the processors with those, which watch for work for milliseconds after each operator.
template <typename T>
void run_all(const Operation* ops, long count, void* const* buffers, int threads) {
  constexpr int PATIENCE = 2000;
  if (threads == 1) return run_alone<T>(ops, count, buffers);
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
      if (tries > PATIENCE) std::this_thread::yield();
    }
  }
}

// What steps of one graph have in common, whichever slots they are for.
struct StepPlan {
  const Operation* operations;
  long count;
  Exchange exchange;
  int32_t frames, results;
  const int32_t* frame_places;   // in the table
  const int64_t* frame_areas;    // of frames that are laid out as maps: pixels; 0: read as they are
  const int32_t* result_places;
};

// Steps of several slots. As many as there are threads step at a time, each on one thread, which
// takes the next slot when it is through with one; those that are left over take all threads one
// after the other. Of each thread that steps alone there is a table and an array of spare blocks (one
// of each, where there are fewer slots than threads); of each slot its elements, frames and results.
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

// How many inputs a product of bfloat16 takes at once; 1 where it takes floats.
int co3d_dense_depth() { return DenseFactor<Half>::DEPTH; }
int co3d_depthwise_depth() { return DepthwiseFactor<Half>::DEPTH; }

// In how many chunks an operation runs, and so how many partial sums it leaves.
long co3d_count_chunks(const Operation* op, int is_half) {
  return is_half ? count_chunks<Half>(*op) : count_chunks<float>(*op);
}

long co3d_operation_bytes() { return sizeof(Operation); }

void co3d_run(const Operation* ops, long count, void* const* buffers, int threads, int is_half) {
  if (is_half)
    run_all<Half>(ops, count, buffers, threads);
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
                     int is_half) {
  if (is_half)
    step_slots<Half>(*plan, tables, spares, threads, slots, frames, results, count);
  else
    step_slots<float>(*plan, tables, spares, threads, slots, frames, results, count);
}

// Bytes of what Python describes too.
long co3d_step_plan_bytes() { return sizeof(StepPlan); }

// Lay frames of three planes out as a map.
void co3d_lay_out_frames(const float* planes, void* map, long frames, long area, int is_half) {
  for (long i = 0; i < 3 * area * frames; i += 3 * area)
    if (is_half)
      lay_out_frame(planes + i, (Half*)map + i, area);
    else
      lay_out_frame(planes + i, (float*)map + i, area);
}

// Scale, crop and normalise a picture; see `prepare_picture`.
void co3d_prepare_picture(const uint8_t* picture, long width, long height, long row_bytes,
                          const Scaling* columns, const Scaling* rows, const float* table,
                          float* planes) {
  static thread_local Scratch scratch;
  prepare_picture(picture, width, height, row_bytes, *columns, *rows, table, planes, scratch);
}

}  // extern "C"
