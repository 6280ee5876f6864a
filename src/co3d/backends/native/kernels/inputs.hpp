// The inputs of a sum of depthwise convolutions: rows of its sources, in place or staged (copied).
#pragma once

#include <algorithm>
#include <utility>

#include "factor.hpp"
#include "operation.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

// The inputs of a row, from a given pixel on.
template <typename T>
struct Line {
  using F = DepthwiseFactor<T>;
  const T* at;
  long step;
  typename F::Lanes operator[](int i) const { return F::read(at + i * step); }
};

// The same, with zeros for inputs to the left and right of the map.
template <typename T>
struct LineAtEdge {
  using F = DepthwiseFactor<T>;
  Line<T> line;
  int left, width;
  typename F::Lanes operator[](int i) const {
    static constexpr T zeros[LANES * F::DEPTH] = {};
    return F::read(unsigned(left + i) < unsigned(width) ? line.at + i * line.step : zeros);
  }
};

// Sources are processed in groups of DEPTH, whose inputs one instruction multiplies and sums.
template <typename T>
class Inputs {
 public:
  using F = DepthwiseFactor<T>;
  using Lanes = typename F::Lanes;
  static constexpr int SIZE = LANES * F::DEPTH;  // of an input: a vector of channels per source

  const int groups, lanes;  // lanes: the used lanes of a vector, fewer where channels < LANES

  Inputs(const Operation& op, void* const* buffers)
      : groups((op.source_count + F::DEPTH - 1) / F::DEPTH),
        lanes(std::min(op.out_channels, LANES)),
        op(op),
        buffers(buffers) {}

  // The addresses at offset `at` in the one or two maps of a group.
  std::pair<const T*, const T*> maps(int group, long at) const {
    int first = group * F::DEPTH, second = first + 1;
    bool has_second = F::DEPTH == 2 && second < op.source_count;
    return {(const T*)buffers[op.sources[first]] + at,
            has_second ? (const T*)buffers[op.sources[second]] + at : nullptr};
  }

  Lanes join(const T* first, const T* second) const {
    return lanes == LANES ? F::join(first, second) : F::join_some(first, second, lanes);
  }

  // Whether input rows are staged: copied once for all results that read them, vector by vector,
  // with zeros to the left and right. Rows are staged for pairs of maps, and where channels do not
  // fill a vector; full vectors of a single map are read in place.
  bool are_staged() const { return F::DEPTH > 1 || lanes < LANES; }

  // Allocate a ring of `rows` staged rows of `width` inputs, for these vectors of channels.
  void prepare(int rows, int width, WorkRange columns, Scratch& scratch) {
    this->rows = rows, this->width = width, this->columns = columns;
    row_size = (columns.end - columns.begin) * groups * width * SIZE;
    staged = (T*)scratch.take(rows * row_size * sizeof(T));
  }

  // Stage row `y` of all sources; it overwrites row `y - rows`.
  void stage(long item, int y) const {
    const int channels = op.out_channels, left = op.padding_x;
    const int count = std::min(op.width, width - left);
    const long vector_size = long(groups) * width * SIZE;
    for (int g = 0; g < groups; ++g) {
      auto [first, second] = maps(g, (item * op.height + y) * op.width * channels);
      T* const row = place(y, columns.begin, g);
      for (long v = columns.begin; v < columns.end; ++v) {
        T* to = place(y, v, g);
        std::fill(to, to + left * SIZE, T{});
        std::fill(to + (left + count) * SIZE, to + width * SIZE, T{});
      }
      for (int x = 0; x < count; ++x, first += channels) {
        T* to = row + (left + x) * SIZE;
        if (second)
          stage_pixel(first, second + long(x) * channels, to, vector_size);
        else
          stage_pixel(first, nullptr, to, vector_size);
      }
    }
  }

  // `row`: the address of a group's row, in the map or in the staged copy. `offset`: from there to
  // the first input of the result in column `x`, for a vector of channels. `step`: from one input
  // column to the next.
  const T* row(long item, int y, int group) const {
    if (are_staged()) return place(y, columns.begin, group);
    return maps(group, (item * op.height + y) * op.width * op.out_channels).first;
  }
  long offset(int vector, int x) const {
    const long first = long(x) * op.stride_x;
    if (are_staged()) return ((vector - columns.begin) * groups * width + first) * SIZE;
    return (first - op.padding_x) * op.out_channels + vector_start(vector, op.out_channels);
  }
  long step() const { return are_staged() ? SIZE : op.out_channels; }

 private:
  const Operation& op;
  void* const* buffers;
  T* staged = nullptr;
  int rows = 0, width = 0;
  long row_size = 0;
  WorkRange columns{0, 0, 1};

  // Inlined, so that the compiler makes one loop for two maps and one for a single map.
  inline __attribute__((always_inline)) void stage_pixel(const T* first, const T* second, T* to,
                                                         long vector_size) const {
    const int channels = op.out_channels, end = std::min<int>(channels, columns.end * LANES);
    int c = columns.begin * LANES;
    for (; c + LANES <= end; c += LANES, to += vector_size)
      F::write(to, F::join(first + c, second ? second + c : nullptr));
    if (c == end) return;
    const int last = std::max(0, channels - LANES);
    F::write(to, join(first + last, second ? second + last : nullptr));
  }

  T* place(int y, long vector, int group) const {
    return staged + y % rows * row_size +
           ((vector - columns.begin) * groups + group) * width * SIZE;
  }
};
