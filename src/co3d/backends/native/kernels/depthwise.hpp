// Sums of depthwise convolutions of several maps: one per frame that a temporal kernel reads.
#pragma once

#include <algorithm>

#include "factor.hpp"
#include "operation.hpp"
#include "readings.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "vectors.hpp"

template <typename T>
struct DepthwiseSum {
  using F = Factor<T>;
  using Kept = typename F::Kept;
  using Lanes = typename F::Lanes;

  const Operation& op;
  void* const* buffers;
  const Kept* weights;  // (vectors, groups, taps, LANES, DEPTH), or nullptr for ones
  const float* bias;    // (vectors * LANES)
  T* out;
  float* sums = nullptr;
  int vectors;
  Readings<T> readings;

  // Rows of results that are made before further rows of readings are staged.
  static constexpr int BAND = 2;

  DepthwiseSum(const Operation& op, void* const* buffers)
      : op(op),
        buffers(buffers),
        weights(op.weight < 0 ? nullptr : (const Kept*)buffers[op.weight]),
        bias(op.bias < 0 ? nullptr : (const float*)buffers[op.bias]),
        out((T*)buffers[op.out]),
        vectors(count_vectors(op.out_channels)),
        readings(op, buffers) {}

  // Units of work: some pixels, where each result is made of the pixel's own readings; some rows,
  // for those at their border are read twice; or, where there are few rows, some vectors of
  // channels, for their readings of a pixel lie side by side.
  static long count_units(const Operation& op) {
    if (is_pointwise(op)) return long(op.batch) * op.out_height * op.out_width / 8;
    if (is_shared_by_rows(op)) return long(op.batch) * op.out_height / 8;
    return (count_vectors(op.out_channels) + 3) / 4;
  }

  void run(int chunk, int chunks, Scratch& scratch) {
    if (op.sums >= 0) {
      long size = long(op.batch) * vectors * LANES;
      sums = (float*)buffers[op.sums] + chunk * size;
      memset(sums, 0, size * sizeof(float));
    }
    if (is_pointwise(op)) {
      const long area = long(op.out_height) * op.out_width;
      Share pixels(op.batch * area, chunk, chunks, 8);
      for_each_member(pixels, area, [&](long member, long begin, long end) {
        run_points(member, begin, end);
      });
      return;
    }
    const bool by_rows = is_shared_by_rows(op);
    Share rows(long(op.batch) * op.out_height, by_rows ? chunk : 0, by_rows ? chunks : 1, BAND);
    Share columns(vectors, by_rows ? 0 : chunk, by_rows ? 1 : chunks);
    if (readings.are_staged())
      readings.prepare((BAND - 1) * op.stride_y + extent_y(),
                       (round_up(op.out_width, choose_tile()) - 1) * op.stride_x + extent_x(),
                       columns, scratch);
    for_each_member(rows, op.out_height, [&](long member, long begin, long end) {
      run_rows(member, begin, end, columns);
    });
  }

 private:
  static bool is_pointwise(const Operation& op) {
    return op.kernel_height == 1 && op.kernel_width == 1 && op.stride_y == 1 && op.stride_x == 1 &&
           op.padding_y == 0 && op.padding_x == 0;
  }

  static bool is_shared_by_rows(const Operation& op) {
    return long(op.batch) * op.out_height >= 24;
  }

  // Whether there are kernels that take each reading once for all results of a row.
  bool is_usual() const {
    return op.kernel_width == 3 && op.dilation_x == 1 && (op.stride_x == 1 || op.stride_x == 2);
  }

  // Of the lengths that there are kernels for, the one that leaves the fewest results over.
  int choose_tile() const {
    if (!MANY_REGISTERS || !is_usual()) return 4;
    int best = 10;
    for (int length : {8, 7, 5})
      if (round_up(op.out_width, length) < round_up(op.out_width, best)) best = length;
    return best;
  }

  static int round_up(int count, int length) { return (count + length - 1) / length * length; }

  // Pixels of a map that one result depends on.
  int extent_y() const { return (op.kernel_height - 1) * op.dilation_y + 1; }
  int extent_x() const { return (op.kernel_width - 1) * op.dilation_x + 1; }

  // Divide a share into those of the members of the batch, which have `size` each.
  template <typename Work>
  void for_each_member(Share share, long size, Work work) const {
    for (long i = share.begin; i < share.end;) {
      long member = i / size, begin = member * size, end = std::min(share.end, begin + size);
      work(member, i - begin, end - begin);
      i = end;
    }
  }

  void run_points(long member, long begin, long end) const {
    long i = begin;
    for (; i + 8 <= end; i += 8) add_points<8>(member, i);
    for (; i < end; ++i) add_points<1>(member, i);
  }

  template <int COUNT>
  void add_points(long member, long pixel) const {
    const int channels = op.out_channels;
    const long first_pixel = member * op.out_height * op.out_width + pixel;
    for (int v = 0; v < vectors; ++v) {
      const long at = first_pixel * channels + vector_start(v, channels);
      Vector made[COUNT] = {};
      for (int g = 0; g < readings.groups; ++g) {
        auto [first, second] = readings.maps(g, at);
        const Lanes weight = tap(v, g, 0, 0);
        for (int i = 0; i < COUNT; ++i) {
          const T* other = second ? second + i * channels : nullptr;
          F::multiply_add(made[i], readings.read(first + i * channels, other), weight);
        }
      }
      add_to_sums(member, v, finish(made, v, out + at, COUNT));
    }
  }

  // Rows [begin, end) of the results of one member of the batch.
  void run_rows(long member, int begin, int end, Share columns) {
    const bool are_staged = readings.are_staged();
    const int tile = choose_tile();
    int next = std::max(0, begin * op.stride_y - op.padding_y);
    for (int y = begin; y < end; y += BAND) {
      int rows = std::min(BAND, end - y);
      int below = std::min(op.height, (y + rows - 1) * op.stride_y - op.padding_y + extent_y());
      if (are_staged)
        for (; next < below; ++next) readings.stage(member, next);
      for (long v = columns.begin; v < columns.end; ++v)
        add_to_sums(member, v, run_band(member, v, y, rows, tile));
    }
  }

  Vector run_band(long member, int vector, int y, int rows, int tile) const {
    if (is_usual() && rows == 2 && op.stride_y == 1 && op.dilation_y == 1 && op.stride_x == 1)
      return run_tiles<3, 1, 2>(member, vector, y, tile);
    Vector total{};
    for (int i = y; i < y + rows; ++i)
      if (is_usual() && op.stride_x == 1)
        total += run_tiles<3, 1, 1>(member, vector, i, tile);
      else if (is_usual())
        total += run_tiles<3, 2, 1>(member, vector, i, tile);
      else
        total += run_row<0, 0, 4, 1>(member, vector, i);
    return total;
  }

  template <int KERNEL, int STRIDE, int ROWS>
  Vector run_tiles(long member, int vector, int y, int tile) const {
    if constexpr (MANY_REGISTERS) {
      if (tile == 10) return run_row<KERNEL, STRIDE, 10, ROWS>(member, vector, y);
      if (tile == 8) return run_row<KERNEL, STRIDE, 8, ROWS>(member, vector, y);
      if (tile == 7) return run_row<KERNEL, STRIDE, 7, ROWS>(member, vector, y);
      return run_row<KERNEL, STRIDE, 5, ROWS>(member, vector, y);
    }
    return run_row<KERNEL, STRIDE, 4, ROWS>(member, vector, y);
  }

  template <int KERNEL, int STRIDE, int TILE, int ROWS>
  Vector run_row(long member, int vector, int y) const {
    Vector total{};
    for (int x = 0; x < op.out_width; x += TILE)
      total += run_tile<KERNEL, STRIDE, TILE, ROWS>(member, vector, y, x);
    return total;
  }

  // TILE results of ROWS rows that lie below each other; with several rows the stride in y is 1.
  // It is not inlined, for its sums to stay in registers.
  template <int KERNEL, int STRIDE, int TILE, int ROWS>
  __attribute__((noinline)) Vector run_tile(long member, int vector, int y, int x) const {
    Vector made[ROWS][TILE];
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 10
      for (int i = 0; i < TILE; ++i) made[r][i] = Vector{};
    const bool are_staged = readings.are_staged();
    const int top = y * op.stride_y - op.padding_y, lines = op.kernel_height + ROWS - 1;
    const int left = x * op.stride_x - op.padding_x;
    const bool inside = left >= 0 && left + (TILE - 1) * op.stride_x + extent_x() <= op.width;
    const int channel = vector_start(vector, op.out_channels);
    for (int g = 0; g < readings.groups; ++g)
      for (int ky = 0; ky < lines; ++ky) {
        const int source_y = top + ky * op.dilation_y;
        if (unsigned(source_y) >= unsigned(op.height)) continue;
        const Line<F> line = are_staged ? readings.staged_line(source_y, vector, g, x)
                                        : readings.line(member, source_y, g, left, channel);
        if (are_staged || inside)
          add_line<KERNEL, STRIDE>(made, line, vector, g, ky);
        else
          add_line<KERNEL, STRIDE>(made, LineAtEdge<F>{line, left, op.width}, vector, g, ky);
      }
    const long pixel = (member * op.out_height + y) * op.out_width + x;
    T* to = out + pixel * op.out_channels + channel;
    Vector total{};
    for (int r = 0; r < ROWS; ++r, to += long(op.out_width) * op.out_channels)
      total += finish(made[r], vector, to, op.out_width - x);
    return total;
  }

  // Add a line of readings to the results that it is the ky-th line of, and to those of the row
  // below, if there is one.
  template <int KERNEL, int STRIDE, int TILE, int ROWS, typename Source>
  inline __attribute__((always_inline)) void add_line(Vector (&made)[ROWS][TILE],
                                                      const Source& from, int vector, int group,
                                                      int ky) const {
    if constexpr (KERNEL == 0) {
      for (int kx = 0; kx < op.kernel_width; ++kx)
        for (int i = 0; i < TILE; ++i)
          F::multiply_add(made[0][i], from[i * op.stride_x + kx * op.dilation_x],
                          tap(vector, group, ky, kx));
    } else if (ROWS == 1 || ky == 0) {
      add_readings<KERNEL, STRIDE, true, false>(made, from, vector, group, ky);
    } else if (ky == op.kernel_height) {
      add_readings<KERNEL, STRIDE, false, true>(made, from, vector, group, ky);
    } else {
      add_readings<KERNEL, STRIDE, true, true>(made, from, vector, group, ky);
    }
  }

  // Each reading is added to all results that it belongs to.
  template <int KERNEL, int STRIDE, bool ABOVE, bool BELOW, int TILE, int ROWS, typename Source>
  inline __attribute__((always_inline)) void add_readings(Vector (&made)[ROWS][TILE],
                                                          const Source& from, int vector,
                                                          int group, int ky) const {
    constexpr int SPAN = (TILE - 1) * STRIDE + KERNEL;
    Lanes above[KERNEL], below[KERNEL];
#pragma GCC unroll 4
    for (int kx = 0; kx < KERNEL; ++kx) {
      if (ABOVE) above[kx] = tap(vector, group, ky, kx);
      if (BELOW) below[kx] = tap(vector, group, ky - 1, kx);
    }
#pragma GCC unroll 24
    for (int i = 0; i < SPAN; ++i) {
      const Lanes value = from[i];
#pragma GCC unroll 4
      for (int kx = 0; kx < KERNEL; ++kx)
        if ((i - kx) % STRIDE == 0 && i - kx >= 0 && (i - kx) / STRIDE < TILE) {
          if (ABOVE) F::multiply_add(made[0][(i - kx) / STRIDE], value, above[kx]);
          if (BELOW) F::multiply_add(made[ROWS - 1][(i - kx) / STRIDE], value, below[kx]);
        }
    }
  }

  Lanes tap(int vector, int group, int ky, int kx) const {
    if (!weights) return F::one();
    const long line = (long(vector) * readings.groups + group) * op.kernel_height + ky;
    return F::load_lanes(weights + (line * op.kernel_width + kx) * Readings<T>::SIZE);
  }

  // Write results of pixels that lie side by side, as far as there are `left`; their sum.
  template <int TILE>
  Vector finish(const Vector (&made)[TILE], int vector, T* to, int left) const {
    const Vector added = bias ? load(bias + vector * LANES) : Vector{};
    const long channels = op.out_channels;
    const float scale = op.scale;
    const int activation = op.activation, lanes = readings.lanes;
    Vector total{};
    if (left >= TILE && lanes == LANES) {
#pragma GCC unroll 10
      for (int i = 0; i < TILE; ++i) {
        Vector value = activate<T>(scale * made[i] + added, activation);
        store(to + i * channels, value);
        total += value;
      }
      return total;
    }
    for (int i = 0; i < std::min(TILE, left); ++i) {
      Vector value = activate<T>(scale * made[i] + added, activation);
      store_some(to + i * channels, value, lanes);
      total += value;
    }
    return total;
  }

  void add_to_sums(long member, int vector, Vector total) const {
    if (!sums) return;
    float* sum = sums + (member * vectors + vector) * LANES;
    store(sum, load(sum) + total);
  }
};
