// What a depthwise sum reads: the rows of its sources, where they lie or staged for the products.
#pragma once

#include <algorithm>
#include <utility>

#include "factor.hpp"
#include "operation.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "vectors.hpp"

// The readings of a row from some pixel on.
template <typename T>
struct Line {
  using F = DepthwiseFactor<T>;
  const T* at;
  long step;
  typename F::Lanes operator[](int i) const { return F::read(at + i * step); }
};

// The same where some lie outside of the map, and are zero.
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

// Sources come in groups of DEPTH, whose readings a product takes at once.
template <typename T>
class Readings {
 public:
  using F = DepthwiseFactor<T>;
  using Lanes = typename F::Lanes;
  static constexpr int SIZE = LANES * F::DEPTH;  // of a reading

  const int groups, lanes;  // lanes: that the maps fill

  Readings(const Operation& op, void* const* buffers)
      : groups((op.source_count + F::DEPTH - 1) / F::DEPTH),
        lanes(std::min(op.out_channels, LANES)),
        op(op),
        buffers(buffers) {}

  // Where the number `at` lies in the maps of a group.
  std::pair<const T*, const T*> maps(int group, long at) const {
    int first = group * F::DEPTH, second = first + 1;
    bool has_second = F::DEPTH == 2 && second < op.source_count;
    return {(const T*)buffers[op.sources[first]] + at,
            has_second ? (const T*)buffers[op.sources[second]] + at : nullptr};
  }

  Lanes join(const T* first, const T* second) const {
    return lanes == LANES ? F::join(first, second) : F::join_some(first, second, lanes);
  }

  // Whole vectors of one map are read where they lie. What has to be paired or filled up is so once
  // for all that read it, and lies as tiles of products want it: vector by vector, with zeros
  // beside the row.
  bool are_staged() const { return F::DEPTH > 1 || lanes < LANES; }

  // Make room for `rows` rows of `width` readings of some vectors of channels.
  void prepare(int rows, int width, Share columns, Scratch& scratch) {
    this->rows = rows, this->width = width, this->columns = columns;
    row_size = (columns.end - columns.begin) * groups * width * SIZE;
    staged = (T*)scratch.take(rows * row_size * sizeof(T));
  }

  // Stage a row of all sources, in the place of one that is `rows` above.
  void stage(long member, int y) const {
    const int channels = op.out_channels, left = op.padding_x;
    const int count = std::min(op.width, width - left);
    const long vector_size = long(groups) * width * SIZE;
    for (int g = 0; g < groups; ++g) {
      auto [first, second] = maps(g, (member * op.height + y) * op.width * channels);
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

  // A row of a group, as it lies or is staged; how far from there the first reading is for results
  // of a vector of channels from column `x` on; and how far the reading of the next column.
  const T* row(long member, int y, int group) const {
    if (are_staged()) return place(y, columns.begin, group);
    return maps(group, (member * op.height + y) * op.width * op.out_channels).first;
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
  Share columns{0, 0, 1};

  // Inlined, so that there is a loop for two maps and one for a single map.
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
