// Sums of 2-D depthwise convolutions, one per frame that a temporal kernel reads: a depthwise 3-D
// convolution of one frame.
#pragma once

#include <algorithm>

#include "factor.hpp"
#include "inputs.hpp"
#include "operation.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "slide.hpp"
#include "vectors.hpp"

template <typename T>
struct DepthwiseSum {
  using F = DepthwiseFactor<T>;
  using Scalar = typename F::Scalar;
  using Lanes = typename F::Lanes;

  // One output: the sum itself, or an additional output of the same inputs with other weights.
  struct Result {
    const Scalar* weights;  // (vectors, groups, taps, LANES, DEPTH), or nullptr for ones
    const float* bias;    // (vectors * LANES), or nullptr
    T* out;
    bool is_additional;
  };

  const Operation& op;
  void* const* buffers;
  Result results[1 + MOST_ADDITIONAL];
  float* sums = nullptr;
  int vectors;
  Inputs<T> inputs;

  // Output rows that are computed together, before further input rows are staged.
  static constexpr int BAND = 2;
  // From this many output rows on, threads divide the rows in whole bands.
  static constexpr long MANY_ROWS = 24;

  DepthwiseSum(const Operation& op, void* const* buffers)
      : op(op),
        buffers(buffers),
        vectors(count_vectors(op.out_channels)),
        inputs(op, buffers) {
    const Scalar* weights = op.weight < 0 ? nullptr : (const Scalar*)buffers[op.weight];
    const float* bias = op.bias < 0 ? nullptr : (const float*)buffers[op.bias];
    for (int i = 0; i <= op.additional_count; ++i) {
      results[i] = {weights, bias, (T*)buffers[i ? op.additional[i - 1] : op.out], i > 0};
      if (weights) weights += vectors * vector_weights();
      if (bias) bias += vectors * LANES;
    }
  }

  // Units of work: 8 pixels for 1x1 kernels; else several rows, because input rows at the border of
  // two units are read twice; or 4 vectors of channels where there are few rows.
  static long count_units(const Operation& op) {
    if (is_pointwise(op)) return long(op.batch) * op.out_height * op.out_width / 8;
    const long rows = long(op.batch) * op.out_height;
    if (splits_rows(op)) return rows < MANY_ROWS ? rows / 3 : rows / 8;
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
      WorkRange pixels(op.batch * area, chunk, chunks, 8);
      for_each_item(pixels, area, [&](long item, long begin, long end) {
        run_points(item, begin, end);
      });
      return;
    }
    const bool by_rows = splits_rows(op);
    const long all_rows = long(op.batch) * op.out_height;
    WorkRange rows(all_rows, by_rows ? chunk : 0, by_rows ? chunks : 1,
                   all_rows < MANY_ROWS ? 1 : BAND);
    WorkRange columns(vectors, by_rows ? 0 : chunk, by_rows ? 1 : chunks);
    if (inputs.are_staged())
      inputs.prepare((BAND - 1) * op.stride_y + extent_y(),
                       (round_up(op.out_width, 4) - 1) * op.stride_x + extent_x(),
                       columns, scratch);
    for_each_item(rows, op.out_height, [&](long item, long begin, long end) {
      run_rows(item, begin, end, columns);
    });
  }

 private:
  static bool is_pointwise(const Operation& op) {
    return op.kernel_height == 1 && op.kernel_width == 1 && op.stride_y == 1 && op.stride_x == 1 &&
           op.padding_y == 0 && op.padding_x == 0;
  }

  // Whether threads divide the rows of the result (else the channels). They do where they also
  // divide the pixels of the dense convolutions before and after it, so that a thread finds its
  // inputs in its own caches. The factor 3 is there because those have a third of the channels.
  static bool splits_rows(const Operation& op) {
    return long(op.batch) * op.out_height >= 8 &&
           long(op.batch) * op.out_height * op.out_width * 3 >= op.out_channels;
  }

  // Weights per vector of channels.
  long vector_weights() const {
    return long(inputs.groups) * op.kernel_height * op.kernel_width * Inputs<T>::SIZE;
  }

  // Whether `Slide` supports the kernel's geometry.
  bool slides() const {
    return op.weight >= 0 && op.kernel_height == 3 && op.kernel_width == 3 && op.dilation_y == 1 &&
           op.dilation_x == 1 && op.stride_y == op.stride_x && op.stride_x <= 2 &&
           op.padding_x <= 1 && op.out_width >= 4;
  }

  // Of the tile lengths that are compiled, the one that computes the fewest results twice.
  int choose_tile() const {
    if (!MANY_REGISTERS) return 4;
    int best = 4;
    for (int length : {5, 7, 8, 10})
      if (length <= op.out_width && round_up(op.out_width, length) <= round_up(op.out_width, best))
        best = length;
    return best;
  }

  static int round_up(int count, int length) { return (count + length - 1) / length * length; }

  // Height and width of the input pixels that one result depends on.
  int extent_y() const { return (op.kernel_height - 1) * op.dilation_y + 1; }
  int extent_x() const { return (op.kernel_width - 1) * op.dilation_x + 1; }

  // Split a range into its parts per batch item; each item has `size` elements.
  template <typename Work>
  void for_each_item(WorkRange range, long size, Work work) const {
    for (long i = range.begin; i < range.end;) {
      long item = i / size, begin = item * size, end = std::min(range.end, begin + size);
      work(item, i - begin, end - begin);
      i = end;
    }
  }

  void run_points(long item, long begin, long end) const {
    long i = begin;
    for (; i + 8 <= end; i += 8) add_points<8>(item, i);
    for (; i < end; ++i) add_points<1>(item, i);
  }

  template <int COUNT>
  void add_points(long item, long pixel) const {
    const int channels = op.out_channels;
    const long first_pixel = item * op.out_height * op.out_width + pixel;
    for (int v = 0; v < vectors; ++v) {
      const long at = first_pixel * channels + vector_start(v, channels);
      for (int r = 0; r <= op.additional_count; ++r) {
        Vector made[COUNT] = {};
        for (int g = 0; g < inputs.groups; ++g) {
          auto [first, second] = inputs.maps(g, at);
          const Lanes weight = tap(results[r], v, g, 0, 0);
          for (int i = 0; i < COUNT; ++i) {
            const T* other = second ? second + i * channels : nullptr;
            F::multiply_add(made[i], inputs.join(first + i * channels, other), weight);
          }
        }
        add_to_sums(item, v, finish(made, results[r], v, at, 0, COUNT));
      }
    }
  }

  // Compute output rows [begin, end) of one batch item.
  void run_rows(long item, int begin, int end, WorkRange columns) {
    int next = std::max(0, begin * op.stride_y - op.padding_y);
    for (int y = begin; y < end; y += BAND) {
      int rows = std::min(BAND, end - y);
      int below = std::min(op.height, (y + rows - 1) * op.stride_y - op.padding_y + extent_y());
      if (inputs.are_staged())
        for (; next < below; ++next) inputs.stage(item, next);
      if (!slides())
        for (int i = y; i < y + rows; ++i) run_row(item, i, columns);
      else if (op.stride_x == 1)
        slide_band<1>(item, y, rows, columns);
      else
        slide_band<2>(item, y, rows, columns);
    }
  }

  template <int STRIDE>
  void slide_band(long item, int y, int rows, WorkRange columns) {
    if (rows == 2)
      slide_rows<STRIDE, 2>(item, y, columns);
    else
      slide_rows<STRIDE, 1>(item, y, columns);
  }

  template <int STRIDE, int ROWS>
  void slide_rows(long item, int y, WorkRange columns) {
    const int tile = choose_tile();
    if constexpr (MANY_REGISTERS) {
      if (tile == 10) return slide_tiles<STRIDE, 10, ROWS>(item, y, columns);
      if (tile == 8) return slide_tiles<STRIDE, 8, ROWS>(item, y, columns);
      if (tile == 7) return slide_tiles<STRIDE, 7, ROWS>(item, y, columns);
      if (tile == 5) return slide_tiles<STRIDE, 5, ROWS>(item, y, columns);
    }
    slide_tiles<STRIDE, 4, ROWS>(item, y, columns);
  }

  // The last tile is moved back to end with the row, so that some results are computed twice.
  template <int STRIDE, int TILE, int ROWS>
  void slide_tiles(long item, int y, WorkRange columns) {
    using Tile = Slide<T, STRIDE, TILE, ROWS>;
    const T* lines[MOST_SOURCES * Tile::LINES];
    const int top = y * STRIDE - op.padding_y;
    for (int g = 0; g < inputs.groups; ++g)
      for (int i = 0; i < Tile::LINES; ++i) {
        const bool inside = unsigned(top + i) < unsigned(op.height);
        lines[g * Tile::LINES + i] = inside ? inputs.row(item, top + i, g) : nullptr;
      }
    const bool are_staged = inputs.are_staged();
    for (int x = 0; x < op.out_width; x += TILE) {
      const int start = std::min(x, op.out_width - TILE);
      const int left = start * STRIDE - op.padding_x;
      // The inner loop runs over the channels of a tile, because they share cache lines.
      for (long v = columns.begin; v < columns.end; ++v) {
        const typename Tile::Source source{
            lines, inputs.groups, inputs.offset(v, start), inputs.step(),
            are_staged || left >= 0, are_staged || left + Tile::SPAN <= op.width};
        for (int r = 0; r <= op.additional_count; ++r)
          add_to_sums(item, v, slide_tile<STRIDE, TILE, ROWS>(source, results[r], item, y, start,
                                                                v, x - start));
      }
    }
  }

  // Not inlined, so that its sums stay in registers. Returns the sum of its results, without the
  // first `known` results of each row, which the previous tile has computed too.
  template <int STRIDE, int TILE, int ROWS>
  __attribute__((noinline)) Vector slide_tile(
      const typename Slide<T, STRIDE, TILE, ROWS>::Source& source, const Result& result,
      long item, int y, int x, int vector, int known) const {
    Vector made[ROWS][TILE];
    Slide<T, STRIDE, TILE, ROWS>::run(source, result.weights + vector * vector_weights(), made);
    long at = place(item, y, x, vector);
    Vector total{};
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r, at += long(op.out_width) * op.out_channels)
      total += finish(made[r], result, vector, at, known, TILE);
    return total;
  }

  // Compute a row of results for any kernel geometry, four at a time.
  void run_row(long item, int y, WorkRange columns) {
    for (long v = columns.begin; v < columns.end; ++v) {
      Vector total{};
      for (int x = 0; x < op.out_width; x += 4)
        for (int r = 0; r <= op.additional_count; ++r) total += run_four(results[r], item, v, y, x);
      add_to_sums(item, v, total);
    }
  }

  Vector run_four(const Result& result, long item, int vector, int y, int x) const {
    Vector made[4] = {};
    const int top = y * op.stride_y - op.padding_y, left = x * op.stride_x - op.padding_x;
    const bool inside = left >= 0 && left + 3 * op.stride_x + extent_x() <= op.width;
    for (int g = 0; g < inputs.groups; ++g)
      for (int ky = 0; ky < op.kernel_height; ++ky) {
        const int source_y = top + ky * op.dilation_y;
        if (unsigned(source_y) >= unsigned(op.height)) continue;
        const Line<T> line{inputs.row(item, source_y, g) + inputs.offset(vector, x),
                           inputs.step()};
        if (inputs.are_staged() || inside)
          add_line(made, line, result, vector, g, ky);
        else
          add_line(made, LineAtEdge<T>{line, left, op.width}, result, vector, g, ky);
      }
    return finish(made, result, vector, place(item, y, x, vector), 0, op.out_width - x);
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

  // The offset of a pixel's vector in the output map.
  long place(long item, int y, int x, int vector) const {
    const long pixel = (item * op.out_height + y) * op.out_width + x;
    return pixel * op.out_channels + vector_start(vector, op.out_channels);
  }

  Lanes tap(const Result& result, int vector, int group, int ky, int kx) const {
    if (!result.weights) return F::one();
    const long line = (long(vector) * inputs.groups + group) * op.kernel_height + ky;
    return F::load_weights(result.weights + (line * op.kernel_width + kx) * Inputs<T>::SIZE);
  }

  // Scale, add the bias, activate and write the first `count` results of neighbouring pixels.
  // Returns the sum of those from index `known` on; additional outputs are neither activated nor
  // summed.
  template <int TILE>
  inline __attribute__((always_inline)) Vector finish(Vector (&made)[TILE], const Result& result,
                                                      int vector, long at, int known,
                                                      int count) const {
    const Vector added = result.bias ? load(result.bias + vector * LANES) : Vector{};
    const long channels = op.out_channels;
    const float scale = op.gate < 0 ? op.scale : op.scale / *(const float*)buffers[op.gate];
    const int lanes = inputs.lanes, maps = result.is_additional ? 0 : op.added_count;
    const int activation = result.is_additional ? int(IDENTITY) : op.activation;
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
    return result.is_additional ? Vector{} : total;
  }

  void add_to_sums(long item, int vector, Vector total) const {
    if (!sums) return;
    float* sum = sums + (item * vectors + vector) * LANES;
    store(sum, load(sum) + total);
  }
};
