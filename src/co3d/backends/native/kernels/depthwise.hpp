// Sums of depthwise convolutions of several maps: one per frame that a temporal kernel reads.
#pragma once

#include <algorithm>

#include "factor.hpp"
#include "operation.hpp"
#include "readings.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "slide.hpp"
#include "vectors.hpp"

template <typename T>
struct DepthwiseSum {
  using F = DepthwiseFactor<T>;
  using Kept = typename F::Kept;
  using Lanes = typename F::Lanes;

  // What is made of the readings: the sum itself, or one beside it, with weights of its own.
  struct Result {
    const Kept* weights;  // (vectors, groups, taps, LANES, DEPTH), or nullptr for ones
    const float* bias;    // (vectors * LANES), or nullptr
    T* out;
    bool is_beside;
  };

  const Operation& op;
  void* const* buffers;
  Result results[1 + MOST_BESIDE];
  float* sums = nullptr;
  int vectors;
  Readings<T> readings;

  // Rows of results that are made before further rows of readings are staged.
  static constexpr int BAND = 2;
  // From how many on shares are whole bands.
  static constexpr long MANY_ROWS = 24;

  DepthwiseSum(const Operation& op, void* const* buffers)
      : op(op),
        buffers(buffers),
        vectors(count_vectors(op.out_channels)),
        readings(op, buffers) {
    const Kept* weights = op.weight < 0 ? nullptr : (const Kept*)buffers[op.weight];
    const float* bias = op.bias < 0 ? nullptr : (const float*)buffers[op.bias];
    for (int i = 0; i <= op.beside_count; ++i) {
      results[i] = {weights, bias, (T*)buffers[i ? op.beside[i - 1] : op.out], i > 0};
      if (weights) weights += vectors * vector_weights();
      if (bias) bias += vectors * LANES;
    }
  }

  // Units of work: some pixels, where each result is made of the pixel's own readings; some rows,
  // for those at their border are read twice; or, where there are few rows, some vectors of
  // channels, for their readings of a pixel lie side by side.
  static long count_units(const Operation& op) {
    if (is_pointwise(op)) return long(op.batch) * op.out_height * op.out_width / 8;
    const long rows = long(op.batch) * op.out_height;
    if (is_shared_by_rows(op)) return rows < MANY_ROWS ? rows / 3 : rows / 8;
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
    const long all_rows = long(op.batch) * op.out_height;
    Share rows(all_rows, by_rows ? chunk : 0, by_rows ? chunks : 1, all_rows < MANY_ROWS ? 1 : BAND);
    Share columns(vectors, by_rows ? 0 : chunk, by_rows ? 1 : chunks);
    if (readings.are_staged())
      readings.prepare((BAND - 1) * op.stride_y + extent_y(),
                       (round_up(op.out_width, 4) - 1) * op.stride_x + extent_x(),
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

  // As the convolutions before and behind are by their pixels, for what they make and read then
  // lies in the caches of the same threads; channels are three times as many as theirs.
  static bool is_shared_by_rows(const Operation& op) {
    return long(op.batch) * op.out_height >= 8 &&
           long(op.batch) * op.out_height * op.out_width * 3 >= op.out_channels;
  }

  // How many weights a vector of channels has.
  long vector_weights() const {
    return long(readings.groups) * op.kernel_height * op.kernel_width * Readings<T>::SIZE;
  }

  // Whether the kernel slides along rows, and results of how many pixels fit best.
  bool slides() const {
    return op.weight >= 0 && op.kernel_height == 3 && op.kernel_width == 3 && op.dilation_y == 1 &&
           op.dilation_x == 1 && op.stride_y == op.stride_x && op.stride_x <= 2 &&
           op.padding_x <= 1 && op.out_width >= 4;
  }

  // Of the lengths that there are kernels for, the one that makes the fewest results twice.
  int choose_tile() const {
    if (!MANY_REGISTERS) return 4;
    int best = 4;
    for (int length : {5, 7, 8, 10})
      if (length <= op.out_width && round_up(op.out_width, length) <= round_up(op.out_width, best))
        best = length;
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
      for (int r = 0; r <= op.beside_count; ++r) {
        Vector made[COUNT] = {};
        for (int g = 0; g < readings.groups; ++g) {
          auto [first, second] = readings.maps(g, at);
          const Lanes weight = tap(results[r], v, g, 0, 0);
          for (int i = 0; i < COUNT; ++i) {
            const T* other = second ? second + i * channels : nullptr;
            F::multiply_add(made[i], readings.join(first + i * channels, other), weight);
          }
        }
        add_to_sums(member, v, finish(made, results[r], v, at, 0, COUNT));
      }
    }
  }

  // Rows [begin, end) of the results of one member of the batch.
  void run_rows(long member, int begin, int end, Share columns) {
    int next = std::max(0, begin * op.stride_y - op.padding_y);
    for (int y = begin; y < end; y += BAND) {
      int rows = std::min(BAND, end - y);
      int below = std::min(op.height, (y + rows - 1) * op.stride_y - op.padding_y + extent_y());
      if (readings.are_staged())
        for (; next < below; ++next) readings.stage(member, next);
      if (!slides())
        for (int i = y; i < y + rows; ++i) run_row(member, i, columns);
      else if (op.stride_x == 1)
        slide_band<1>(member, y, rows, columns);
      else
        slide_band<2>(member, y, rows, columns);
    }
  }

  template <int STRIDE>
  void slide_band(long member, int y, int rows, Share columns) {
    if (rows == 2)
      slide_rows<STRIDE, 2>(member, y, columns);
    else
      slide_rows<STRIDE, 1>(member, y, columns);
  }

  template <int STRIDE, int ROWS>
  void slide_rows(long member, int y, Share columns) {
    const int tile = choose_tile();
    if constexpr (MANY_REGISTERS) {
      if (tile == 10) return slide_tiles<STRIDE, 10, ROWS>(member, y, columns);
      if (tile == 8) return slide_tiles<STRIDE, 8, ROWS>(member, y, columns);
      if (tile == 7) return slide_tiles<STRIDE, 7, ROWS>(member, y, columns);
      if (tile == 5) return slide_tiles<STRIDE, 5, ROWS>(member, y, columns);
    }
    slide_tiles<STRIDE, 4, ROWS>(member, y, columns);
  }

  // The last tile begins early enough to end with the row: some results are made twice.
  template <int STRIDE, int TILE, int ROWS>
  void slide_tiles(long member, int y, Share columns) {
    using Tile = Slide<T, STRIDE, TILE, ROWS>;
    const T* lines[MOST_SOURCES * Tile::LINES];
    const int top = y * STRIDE - op.padding_y;
    for (int g = 0; g < readings.groups; ++g)
      for (int i = 0; i < Tile::LINES; ++i) {
        const bool inside = unsigned(top + i) < unsigned(op.height);
        lines[g * Tile::LINES + i] = inside ? readings.row(member, top + i, g) : nullptr;
      }
    const bool are_staged = readings.are_staged();
    for (int x = 0; x < op.out_width; x += TILE) {
      const int start = std::min(x, op.out_width - TILE);
      const int left = start * STRIDE - op.padding_x;
      // All vectors of some pixels in turn: they share lines of the cache.
      for (long v = columns.begin; v < columns.end; ++v) {
        const typename Tile::Source source{
            lines, readings.groups, readings.offset(v, start), readings.step(),
            are_staged || left >= 0, are_staged || left + Tile::SPAN <= op.width};
        for (int r = 0; r <= op.beside_count; ++r)
          add_to_sums(member, v, slide_tile<STRIDE, TILE, ROWS>(source, results[r], member, y, start,
                                                                v, x - start));
      }
    }
  }

  // Not inlined, for its sums to stay in registers. Returns the sum of what it makes, without the
  // first `known` results of each row.
  template <int STRIDE, int TILE, int ROWS>
  __attribute__((noinline)) Vector slide_tile(
      const typename Slide<T, STRIDE, TILE, ROWS>::Source& source, const Result& result,
      long member, int y, int x, int vector, int known) const {
    Vector made[ROWS][TILE];
    Slide<T, STRIDE, TILE, ROWS>::run(source, result.weights + vector * vector_weights(), made);
    long at = place(member, y, x, vector);
    Vector total{};
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r, at += long(op.out_width) * op.out_channels)
      total += finish(made[r], result, vector, at, known, TILE);
    return total;
  }

  // A row of results of any kernel, four at a time.
  void run_row(long member, int y, Share columns) {
    for (long v = columns.begin; v < columns.end; ++v) {
      Vector total{};
      for (int x = 0; x < op.out_width; x += 4)
        for (int r = 0; r <= op.beside_count; ++r) total += run_four(results[r], member, v, y, x);
      add_to_sums(member, v, total);
    }
  }

  Vector run_four(const Result& result, long member, int vector, int y, int x) const {
    Vector made[4] = {};
    const int top = y * op.stride_y - op.padding_y, left = x * op.stride_x - op.padding_x;
    const bool inside = left >= 0 && left + 3 * op.stride_x + extent_x() <= op.width;
    for (int g = 0; g < readings.groups; ++g)
      for (int ky = 0; ky < op.kernel_height; ++ky) {
        const int source_y = top + ky * op.dilation_y;
        if (unsigned(source_y) >= unsigned(op.height)) continue;
        const Line<T> line{readings.row(member, source_y, g) + readings.offset(vector, x),
                           readings.step()};
        if (readings.are_staged() || inside)
          add_line(made, line, result, vector, g, ky);
        else
          add_line(made, LineAtEdge<T>{line, left, op.width}, result, vector, g, ky);
      }
    return finish(made, result, vector, place(member, y, x, vector), 0, op.out_width - x);
  }

  template <typename Source>
  void add_line(Vector (&made)[4], const Source& from, const Result& result, int vector, int group,
                int ky) const {
    for (int kx = 0; kx < op.kernel_width; ++kx) {
      const Lanes weight = tap(result, vector, group, ky, kx);
      for (int i = 0; i < 4; ++i)
        F::multiply_add(made[i], from[i * op.stride_x + kx * op.dilation_x], weight);
    }
  }

  // Where the results of a pixel lie in their map.
  long place(long member, int y, int x, int vector) const {
    const long pixel = (member * op.out_height + y) * op.out_width + x;
    return pixel * op.out_channels + vector_start(vector, op.out_channels);
  }

  Lanes tap(const Result& result, int vector, int group, int ky, int kx) const {
    if (!result.weights) return F::one();
    const long line = (long(vector) * readings.groups + group) * op.kernel_height + ky;
    return F::load_weights(result.weights + (line * op.kernel_width + kx) * Readings<T>::SIZE);
  }

  // Write results of pixels that lie side by side, as far as there are `count`; the sum of those
  // from the number `known` on. What lies beside the sum is neither activated nor counted.
  template <int TILE>
  inline __attribute__((always_inline)) Vector finish(Vector (&made)[TILE], const Result& result,
                                                      int vector, long at, int known,
                                                      int count) const {
    const Vector added = result.bias ? load(result.bias + vector * LANES) : Vector{};
    const long channels = op.out_channels;
    const float scale = op.scale;
    const int lanes = readings.lanes, maps = result.is_beside ? 0 : op.added_count;
    const int activation = result.is_beside ? int(IDENTITY) : op.activation;
    T* const to = result.out + at;
    Vector total{};
    for (int m = 0; m < maps; ++m) {
      const T* from = (const T*)buffers[op.added[m]] + at;
#pragma GCC unroll 10
      for (int i = 0; i < TILE; ++i) {
        if (i >= count) break;
        made[i] += lanes == LANES ? load(from + i * channels) : load_some(from + i * channels, lanes);
      }
    }
#pragma GCC unroll 10
    for (int i = 0; i < TILE; ++i) {
      if (i >= count) break;
      const Vector value = activate<T>(scale * made[i] + added, activation);
      if (lanes == LANES)
        store(to + i * channels, value);
      else
        store_some(to + i * channels, value, lanes);
      if (i >= known) total += value;
    }
    return result.is_beside ? Vector{} : total;
  }

  void add_to_sums(long member, int vector, Vector total) const {
    if (!sums) return;
    float* sum = sums + (member * vectors + vector) * LANES;
    store(sum, load(sum) + total);
  }
};
