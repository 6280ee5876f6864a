// Dense convolutions as matrix products (im2col):
// (pixels, taps x in_channels) times (taps x in_channels, out_channels).
#pragma once

#include <algorithm>

#include "prefetch.hpp"
#include "factor.hpp"
#include "operation.hpp"
#include "product.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "tiles.hpp"
#include "vectors.hpp"

template <typename T>
struct Convolution : Product<T> {
  using P = Product<T>;
  using typename P::Block, typename P::F, typename P::Scalar, typename P::Operand;
  using P::bias, P::buffers, P::op, P::steps, P::weights, P::write;

  static constexpr bool HAS_TILES = F::DEPTH == 2 && Tiles::ARE_BUILT;
  // Work is divided in multiples of GRAIN pixels and COLUMN_GRAIN vectors of channels.
  static constexpr long GRAIN = HAS_TILES ? Tiles::ROWS : 12, COLUMN_GRAIN = HAS_TILES ? 1 : 2;
  static constexpr long BLOCK_PIXELS = HAS_TILES ? 96 : 72;

  using P::P;

  // Whether the product can read the source in place, without gathering.
  bool is_direct() const {
    return op.kernel_height == 1 && op.kernel_width == 1 && op.stride_y == 1 && op.stride_x == 1 &&
           op.padding_y == 0 && op.padding_x == 0 && op.source_count == 1 && op.gate < 0 &&
           op.source_activation == IDENTITY && sizeof(T) == sizeof(Scalar) &&
           op.in_channels % F::DEPTH == 0;
  }

  // Whether AMX computes this: only for maps with enough pixels to fill the rows of a tile
  // register.
  bool uses_tiles() const {
    return HAS_TILES && op.out_height * op.out_width >= Tiles::ROWS && Tiles::are_available();
  }

  // Threads divide the pixels where there are enough and the maps are larger than the weights,
  // because each thread then reads all weights. Otherwise they divide the output channels.
  static bool splits_pixels(const Operation& op) {
    long pixels = long(op.batch) * op.out_height * op.out_width;
    long weights = long(op.in_channels) * op.kernel_height * op.kernel_width * op.out_channels;
    return pixels >= 4 * GRAIN && pixels * (op.in_channels + op.out_channels) >= weights;
  }

  // Units of work: the pixels of two grains, or four vectors of channels, the widest tile.
  static long count_units(const Operation& op) {
    long pixels = long(op.batch) * op.out_height * op.out_width;
    return splits_pixels(op) ? pixels / (2 * GRAIN)
                                   : (count_vectors(op.out_channels) + 3) / 4;
  }

  struct WorkRanges {
    WorkRange rows, columns;  // pixels, and vectors of channels
  };
  WorkRanges divide_work(int chunk, int chunks) const {
    const long pixels = long(op.batch) * op.out_height * op.out_width;
    const bool by_pixels = splits_pixels(op);
    return {WorkRange(pixels, by_pixels ? chunk : 0, by_pixels ? chunks : 1, GRAIN),
            WorkRange(count_vectors(op.out_channels), by_pixels ? 0 : chunk,
                      by_pixels ? 1 : chunks, COLUMN_GRAIN)};
  }

  void run(int chunk, int chunks, Scratch& scratch) {
    const auto [rows, columns] = divide_work(chunk, chunks);
    long blocks = (rows.end - rows.begin + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
    if (blocks == 0) return;
    long block = ((rows.end - rows.begin + blocks - 1) / blocks + GRAIN - 1) / GRAIN * GRAIN;
    const bool direct = is_direct(), in_tiles = uses_tiles();
    Prefetch prefetch(op, buffers, chunk, chunks,
                (rows.end - rows.begin) * (columns.end - columns.begin) * steps);
    const size_t needed = std::max<long>(block, Tiles::ROWS) * steps * F::DEPTH * sizeof(Scalar);
    for (long first = rows.begin; first < rows.end; first += block) {
      long count = std::min(block, rows.end - first);
      const void* values;
      // A tile register loads ROWS pixels even where there are fewer; scratch has room for that.
      if (direct && !(in_tiles && count < Tiles::ROWS))
        values = (const T*)buffers[op.sources[0]] + first * op.in_channels;
      else
        values = gather((Scalar*)scratch.take(needed), first, count);
      if (in_tiles)
        multiply_in_tiles((const Operand*)values, first, count, columns, prefetch);
      else
        multiply((const Operand*)values, first, count, columns, prefetch);
    }
  }

 protected:
  // Gather the inputs of `count` pixels as (pixels, sources, taps, channels); returns `to`.
  Scalar* gather(Scalar* to, long first, long count) const {
    const long area = long(op.out_height) * op.out_width, width = steps * F::DEPTH;
    // Coordinates are incremented, because a division takes as long as a pixel of the first layer.
    long row = first / area;
    int out_y = first % area / op.out_width, out_x = first % area % op.out_width;
    for (long i = 0; i < count; ++i) {
      const int top = out_y * op.stride_y - op.padding_y;
      const int left = out_x * op.stride_x - op.padding_x;
      const T* gate = op.gate < 0 ? nullptr : (const T*)buffers[op.gate] + row * op.in_channels;
      Scalar* begin = to + i * width;
      Scalar* next = begin;
      for (int s = 0; s < op.source_count; ++s) {
        int channels = op.source_channels[s];
        const T* map = (const T*)buffers[op.sources[s]] + row * op.height * op.width * channels;
        for (int ky = 0; ky < op.kernel_height; ++ky) {
          int y = top + ky * op.dilation_y;
          if (op.dilation_x == 1 && unsigned(y) < unsigned(op.height) && left >= 0 &&
              left + op.kernel_width <= op.width) {  // the kernel's row is contiguous in memory
            int run = op.kernel_width * channels;
            const T* from = map + (long(y) * op.width + left) * channels;
            if (gate)
              take(next, from, gate, channels);
            else
              take(next, from, nullptr, run);
            next += run;
            continue;
          }
          for (int kx = 0; kx < op.kernel_width; ++kx, next += channels) {
            int x = left + kx * op.dilation_x;
            if (unsigned(y) < unsigned(op.height) && unsigned(x) < unsigned(op.width))
              take(next, map + (long(y) * op.width + x) * channels, gate, channels);
            else
              memset((void*)next, 0, channels * sizeof(Scalar));
          }
        }
        if (gate) gate += channels;
      }
      static_assert(F::DEPTH <= 2);
      if (next < begin + width) *next = Scalar{};
      if (++out_x < op.out_width) continue;
      out_x = 0;
      if (++out_y < op.out_height) continue;
      out_y = 0, ++row;
    }
    return to;
  }

  void take(Scalar* to, const T* from, const T* gate, int channels) const {
    if (sizeof(T) == sizeof(Scalar) && !gate && op.source_activation == IDENTITY) {
      copy(to, from, channels * sizeof(T));
      return;
    }
    if (channels < LANES) {
      Vector value = load_some(from, channels);
      if (gate) value *= load_some(gate, channels);
      store_some(to, activate<T>(value, op.source_activation), channels);
      return;
    }
    for (int i = 0; i < count_vectors(channels); ++i) {
      int c = vector_start(i, channels);
      Vector value = load(from + c);
      if (gate) value *= load(gate + c);
      store(to + c, activate<T>(value, op.source_activation));
    }
  }

  void multiply(const Operand* values, long first, long count, WorkRange columns,
                Prefetch& prefetch) const {
    const Operand* rows[BLOCK_PIXELS];
    for (long i = 0; i < count; ++i) rows[i] = values + i * steps;
    this->multiply_whole({first, count, columns, rows, nullptr}, prefetch);
  }

  // The last tile is moved back to end at the last pixel, so that some pixels are computed twice.
  void multiply_in_tiles(const Operand* values, long first, long count, WorkRange columns,
                         Prefetch& prefetch) const {
    if constexpr (HAS_TILES) {
      const Tiles tiles(steps);
      alignas(64) float sums[2 * Tiles::ROWS * LANES];
      for (long v = columns.begin; v < columns.end; ++v) {
        const Scalar* w = weights + v * steps * LANES * F::DEPTH;
        for (long i = 0, rows; i < count; i += rows) {
          const bool both = count - i > Tiles::ROWS && count >= 2 * Tiles::ROWS;
          rows = both ? 2 * Tiles::ROWS : Tiles::ROWS;
          prefetch.proceed(std::min(rows, count - i) * steps);
          const long start = std::max(0L, std::min(i, count - rows));
          if (both)
            tiles.multiply<true>(values + start * steps, w, sums);
          else
            tiles.multiply<false>(values + start * steps, w, sums);
          finish_rows(sums, std::min(rows, count), first + start, v);
        }
      }
    }
  }

  void finish_rows(const float* sums, long count, long pixel, long v) const {
    const Vector added = load(bias + v * LANES);
    long i = 0;
    for (; i + 8 <= count; i += 8) finish_some<8>(sums + i * LANES, added, pixel + i, v);
    for (; i < count; ++i) finish_some<1>(sums + i * LANES, added, pixel + i, v);
  }

  template <int ROWS>
  void finish_some(const float* sums, Vector added, long pixel, long v) const {
    Vector made[ROWS][1];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) made[i][0] = load(sums + i * LANES) + added;
    write(made, pixel, v);
  }
};
