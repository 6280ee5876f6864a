// Matrix products of inputs and weights, (pixels, steps) times (steps, channels).
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "factor.hpp"
#include "operation.hpp"
#include "prefetch.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

template <typename T>
struct Product {
  using F = DenseFactor<T>;
  using Scalar = typename F::Scalar;
  using Operand = typename F::Operand;

  // A range of steps.
  struct Part {
    long first, length;
    bool is_followed;  // whether the inputs of the next part follow those of this one in memory
  };
  // A block of results that are computed together.
  struct Block {
    long pixel, count;          // the first pixel, and how many
    WorkRange columns;              // vectors of channels
    const Operand* const* rows;   // per pixel, the address of its first input of the part
    float* sums;                // (columns, count, LANES): partial sums between parts
  };

  const Operation& op;
  void* const* buffers;
  const Scalar* weights;  // (vectors, steps, LANES, DEPTH)
  const float* bias;    // (vectors * LANES)
  const T* residual;
  long steps;           // taps x channels, in units of DEPTH

  Product(const Operation& op, void* const* buffers)
      : op(op),
        buffers(buffers),
        weights((const Scalar*)buffers[op.weight]),
        bias((const float*)buffers[op.bias]),
        residual(op.residual < 0 ? nullptr : (const T*)buffers[op.residual]),
        steps((count_inputs() + F::DEPTH - 1) / F::DEPTH) {}

  long count_inputs() const {
    return long(op.kernel_height) * op.kernel_width * op.in_channels;
  }

  // Multiply all steps at once.
  void multiply_whole(const Block& block, Prefetch& prefetch) const {
    multiply<true>({0, steps, false}, block, prefetch);
  }

  // Multiply one part; the caller multiplies the parts in order.
  void multiply_part(const Part& part, const Block& block, Prefetch& prefetch) const {
    multiply<false>(part, block, prefetch);
  }

  // Write results: in the most frequent cases directly from registers, else through memory.
  template <int ROWS, int COLUMNS>
  inline __attribute__((always_inline)) void write(Vector (&sums)[ROWS][COLUMNS], long pixel,
                                                   long v) const {
    // Local copies, because the compiler must assume that the stores below change `op`.
    const int channels = op.out_channels, activation = op.activation;
    const bool is_float_result = op.is_float_result && !std::is_same_v<T, float>;
    if (channels < LANES || is_float_result || (activation != IDENTITY && activation != RELU)) {
      float made[ROWS * COLUMNS * LANES];
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; ++j) store(made + (i * COLUMNS + j) * LANES, sums[i][j]);
      if (op.is_float_result)
        finish(made, ROWS, COLUMNS, pixel, v, (float*)buffers[op.out]);
      else
        finish(made, ROWS, COLUMNS, pixel, v, (T*)buffers[op.out]);
      return;
    }
    long starts[COLUMNS];
    for (int j = 0; j < COLUMNS; ++j)
      starts[j] = pixel * channels + vector_start(v + j, channels);
    if (residual) {
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; ++j) sums[i][j] += load(residual + starts[j] + i * channels);
    }
    const float least = activation == RELU ? 0.0f : -std::numeric_limits<float>::infinity();
    T* const out = (T*)buffers[op.out];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j)
        store(out + starts[j] + i * channels, clamp_min(sums[i][j], least));
  }

 private:
  static constexpr long STRIP = 16;  // steps between two rounds of prefetches

  const Scalar* find_weights(long v, long step) const {
    return weights + (v * steps + step) * LANES * F::DEPTH;
  }

  template <bool IS_WHOLE>
  void multiply(const Part& part, const Block& block, Prefetch& prefetch) const {
    for (long v = block.columns.begin; v < block.columns.end;) {
      const long left = block.columns.end - v;
      if (MANY_REGISTERS && left >= 4 && left != 5) {
        sweep<IS_WHOLE, 6, 4>(part, block, v, prefetch), v += 4;
      } else if (MANY_REGISTERS && left >= 3) {
        sweep<IS_WHOLE, 8, 3>(part, block, v, prefetch), v += 3;
      } else if (left >= 2) {
        sweep<IS_WHOLE, MANY_REGISTERS ? 12 : 5, 2>(part, block, v, prefetch), v += 2;
      } else {
        sweep<IS_WHOLE, MANY_REGISTERS ? 14 : 8, 1>(part, block, v, prefetch), v += 1;
      }
    }
  }

  template <bool IS_WHOLE, int ROWS, int COLUMNS>
  void sweep(const Part& part, const Block& block, long v, Prefetch& prefetch) const {
    constexpr long STEP_BYTES = LANES * F::DEPTH * sizeof(Scalar);
    // A part prefetches the weights of its next channels, and at its end those of the next part.
    const bool has_next = v + COLUMNS < block.columns.end;
    const Scalar* next = find_weights(has_next ? v + COLUMNS : block.columns.begin,
                                    part.first + (has_next ? 0 : part.length));
    const bool prefetches = !IS_WHOLE && (has_next || part.first + part.length < steps);
    Panel<COLUMNS> panel(next, steps * STEP_BYTES, prefetches ? part.length * STEP_BYTES : 0,
                         block.count * ((part.length + STRIP - 1) / STRIP));
    long i = 0;
    for (; i + ROWS <= block.count; i += ROWS)
      tile<IS_WHOLE, ROWS>(part, block, i, v, panel, prefetch);
    for (; i + 2 <= block.count; i += 2) tile<IS_WHOLE, 2>(part, block, i, v, panel, prefetch);
    for (; i < block.count; ++i) tile<IS_WHOLE, 1>(part, block, i, v, panel, prefetch);
  }

  template <bool IS_WHOLE, int ROWS, int COLUMNS>
  __attribute__((noinline)) void tile(const Part& part, const Block& block, long i, long v,
                                      Panel<COLUMNS>& panel, Prefetch& prefetch) const {
    const Scalar* w = find_weights(v, part.first);
    const long column = steps * LANES * F::DEPTH, length = part.length;
    const long before = (v - block.columns.begin) * block.count + i * COLUMNS;
    float* const kept = block.sums + before * LANES;
    const Operand* values[ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) values[r] = block.rows[i + r];
    Vector sums[ROWS][COLUMNS];
    const bool is_first = IS_WHOLE || part.first == 0;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j)
        sums[r][j] = is_first ? load(bias + (v + j) * LANES) : Vector{};
    for (long k = 0; k < length;) {
      const long end = std::min(k + STRIP, length);
      prefetch.proceed(ROWS * COLUMNS * (end - k));
      if (!IS_WHOLE) panel.proceed(ROWS);
      if (!IS_WHOLE && part.is_followed)
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) __builtin_prefetch(values[r] + k + length, 0, 2);
      for (; k < end; ++k, w += LANES * F::DEPTH) {
        asm("" : "+r"(k));  // makes the compiler use one index, not a pointer per row
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
          for (int j = 0; j < COLUMNS; ++j)
            F::multiply_add(sums[r][j], values[r][k], w + j * column);
      }
    }
    // The partial sum is added at the end, not used as the start: shorter sums round less.
    if (!is_first) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; ++j) sums[r][j] += load(kept + (r * COLUMNS + j) * LANES);
    }
    if (IS_WHOLE || part.first + length == steps) {
      write(sums, block.pixel + i, v);
      return;
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) store(kept + (r * COLUMNS + j) * LANES, sums[r][j]);
  }

  // `made`: (rows, columns, LANES).
  template <typename Out>
  __attribute__((noinline)) void finish(const float* made, int rows, int columns, long pixel,
                                        long v, Out* out) const {
    const int channels = op.out_channels, lanes = std::min(channels, LANES);
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j, made += LANES) {
        const long at = (pixel + i) * channels + vector_start(v + j, channels);
        Vector value = load(made);
        if (residual) value += load_some(residual + at, lanes);
        store_some(out + at, activate<T>(value, op.activation), lanes);
      }
  }
};
