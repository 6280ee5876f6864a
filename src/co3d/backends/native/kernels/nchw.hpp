// Dense convolutions of the caller's frames in NCHW float32.
#pragma once

#include <algorithm>

#include "operation.hpp"
#include "product.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

// The input rows of an output row are copied, with zeros to their left and right, and the product
// reads that copy directly. A frame has so few channels that gathering the inputs of each pixel
// would take longer than multiplying them.
template <typename T>
class NchwConvolution : Product<T> {
 public:
  NchwConvolution(const Operation& op, void* const* buffers)
      : Product<T>(op, buffers),
        frame((const float*)buffers[op.sources[0]]),
        weights((const float*)buffers[op.weight]),
        steps(this->count_inputs()),
        width((op.out_width - 1) * op.stride_x + (op.kernel_width - 1) * op.dilation_x + 1) {}

  static long count_units(const Operation& op) { return long(op.batch) * op.out_height / 4; }

  void run(int chunk, int chunks, Scratch& scratch) {
    const Operation& op = this->op;
    const long lines = long(op.in_channels) * op.kernel_height;
    staged = (float*)scratch.take(lines * width * sizeof(float) + steps * sizeof(int32_t));
    places = (int32_t*)(staged + lines * width);
    for (long line = 0, k = 0; line < lines; ++line)
      for (int kx = 0; kx < op.kernel_width; ++kx) places[k++] = line * width + kx * op.dilation_x;
    WorkRange rows(long(op.batch) * op.out_height, chunk, chunks);
    Prefetch prefetch(op, this->buffers, chunk, chunks, (rows.end - rows.begin) * op.out_width);
    for (long row = rows.begin; row < rows.end; ++row) {
      stage(row / op.out_height, row % op.out_height);
      if (op.stride_x == 1)
        multiply<1>(row, prefetch);
      else
        multiply<2>(row, prefetch);
    }
  }

 private:
  const float* const frame;   // (items, in_channels, height, width)
  const float* const weights;  // (vectors, steps, LANES)
  const long steps;            // in_channels x kernel_height x kernel_width
  const long width;            // of an input row with its padding
  float* staged = nullptr;     // (in_channels, kernel_height, width)
  int32_t* places = nullptr;   // per step, the offset of its input in `staged` for pixel 0

  void stage(long item, int out_y) const {
    const Operation& op = this->op;
    const long left = op.padding_x, count = std::min<long>(op.width, width - left);
    float* to = staged;
    for (int c = 0; c < op.in_channels; ++c)
      for (int ky = 0; ky < op.kernel_height; ++ky, to += width) {
        const int y = out_y * op.stride_y - op.padding_y + ky * op.dilation_y;
        if (unsigned(y) >= unsigned(op.height)) {
          std::fill(to, to + width, 0.0f);
          continue;
        }
        const long line = (item * op.in_channels + c) * op.height + y;
        std::fill(to, to + left, 0.0f);
        memcpy(to + left, frame + line * op.width, count * sizeof(float));
        std::fill(to + left + count, to + width, 0.0f);
      }
  }

  template <int STRIDE>
  void multiply(long row, Prefetch& prefetch) const {
    const long vectors = count_vectors(this->op.out_channels);
    for (long v = 0; v < vectors;) {
      const long left = vectors - v;
      if (MANY_REGISTERS && left >= 4 && left != 5) {
        sweep<STRIDE, 6, 4>(row, v, prefetch), v += 4;
      } else if (MANY_REGISTERS && left >= 3) {
        sweep<STRIDE, 8, 3>(row, v, prefetch), v += 3;
      } else if (left >= 2) {
        sweep<STRIDE, MANY_REGISTERS ? 12 : 5, 2>(row, v, prefetch), v += 2;
      } else {
        sweep<STRIDE, MANY_REGISTERS ? 14 : 8, 1>(row, v, prefetch), v += 1;
      }
    }
  }

  // The last tile is moved back to end with the row, so that some results are computed twice.
  template <int STRIDE, int COUNT, int COLUMNS>
  void sweep(long row, long v, Prefetch& prefetch) const {
    const int all = this->op.out_width;
    if (all < COUNT) {
      for (int x = 0; x < all; ++x) tile<STRIDE, 1, COLUMNS>(row, x, v);
      return;
    }
    for (int x = 0; x < all; x += COUNT) {
      if (v == 0) prefetch.proceed(std::min(COUNT, all - x));
      tile<STRIDE, COUNT, COLUMNS>(row, std::min(x, all - COUNT), v);
    }
  }

  template <int STRIDE, int COUNT, int COLUMNS>
  __attribute__((noinline)) void tile(long row, int x, long v) const {
    const float* const from = staged + x * STRIDE;
    const float* w = weights + v * steps * LANES;
    const long column = steps * LANES;
    Vector sums[COUNT][COLUMNS];
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] = load(this->bias + (v + j) * LANES);
    for (const int32_t *place = places, *end = places + steps; place < end; ++place, w += LANES) {
      const float* const inputs = from + *place;
      Vector factors[COLUMNS];
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) factors[j] = load(w + j * column);
#pragma GCC unroll 16
      for (int i = 0; i < COUNT; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; ++j) sums[i][j] += inputs[i * STRIDE] * factors[j];
    }
    this->write(sums, row * this->op.out_width + x, v);
  }
};
