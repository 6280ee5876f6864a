// Dense convolutions as matrix products: (pixels, taps x channels) times (taps x channels, channels).
#pragma once

#include <algorithm>

#include "ahead.hpp"
#include "factor.hpp"
#include "operation.hpp"
#include "product.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "tiles.hpp"
#include "vectors.hpp"

template <typename T>
struct Convolution : Product<T> {
  using P = Product<T>;
  using typename P::Block, typename P::F, typename P::Kept, typename P::Taken;
  using P::bias, P::buffers, P::op, P::steps, P::weights, P::write;

  static constexpr bool HAS_TILES = F::DEPTH == 2 && Tiles::ARE_BUILT;
  // What shares are counted in, pixels and vectors of channels; and pixels of a block.
  static constexpr long GRAIN = HAS_TILES ? Tiles::ROWS : 12, COLUMN_GRAIN = HAS_TILES ? 1 : 2;
  static constexpr long BLOCK_PIXELS = HAS_TILES ? 96 : 72;

  using P::P;

  // Whether products can read the source where it lies.
  bool is_direct() const {
    return op.kernel_height == 1 && op.kernel_width == 1 && op.stride_y == 1 && op.stride_x == 1 &&
           op.padding_y == 0 && op.padding_x == 0 && op.source_count == 1 && op.gate < 0 &&
           op.source_activation == IDENTITY && sizeof(T) == sizeof(Kept) &&
           op.in_channels % F::DEPTH == 0;
  }

  // Whether the matrix unit multiplies: for maps, whose pixels fill its rows.
  bool uses_tiles() const {
    return HAS_TILES && op.out_height * op.out_width >= Tiles::ROWS && Tiles::are_there();
  }

  // Pixels are shared out where there are enough and the maps are larger than the weights, all of
  // which are read for each share of the pixels; elsewhere channels are.
  static bool is_shared_by_pixels(const Operation& op) {
    long pixels = long(op.batch) * op.out_height * op.out_width;
    long weights = long(op.in_channels) * op.kernel_height * op.kernel_width * op.out_channels;
    return pixels >= 4 * GRAIN && pixels * (op.in_channels + op.out_channels) >= weights;
  }

  // Units of work: pixels for some tiles, or the widest tile's vectors of channels.
  static long count_units(const Operation& op) {
    long pixels = long(op.batch) * op.out_height * op.out_width;
    return is_shared_by_pixels(op) ? pixels / (2 * GRAIN)
                                   : (count_vectors(op.out_channels) + 3) / 4;
  }

  struct Shares {
    Share rows, columns;  // pixels, and vectors of channels
  };
  Shares share_out(int chunk, int chunks) const {
    const long pixels = long(op.batch) * op.out_height * op.out_width;
    const bool by_pixels = is_shared_by_pixels(op);
    return {Share(pixels, by_pixels ? chunk : 0, by_pixels ? chunks : 1, GRAIN),
            Share(count_vectors(op.out_channels), by_pixels ? 0 : chunk, by_pixels ? 1 : chunks,
                  COLUMN_GRAIN)};
  }

  void run(int chunk, int chunks, Scratch& scratch) {
    const auto [rows, columns] = share_out(chunk, chunks);
    long blocks = (rows.end - rows.begin + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
    if (blocks == 0) return;
    long block = ((rows.end - rows.begin + blocks - 1) / blocks + GRAIN - 1) / GRAIN * GRAIN;
    const bool direct = is_direct(), in_tiles = uses_tiles();
    Ahead ahead(op, buffers, chunk, chunks,
                (rows.end - rows.begin) * (columns.end - columns.begin) * steps);
    const size_t needed = std::max<long>(block, Tiles::ROWS) * steps * F::DEPTH * sizeof(Kept);
    for (long first = rows.begin; first < rows.end; first += block) {
      long count = std::min(block, rows.end - first);
      const void* values;
      // A tile that is not full reads on beyond its pixels: scratch has room for that.
      if (direct && !(in_tiles && count < Tiles::ROWS))
        values = (const T*)buffers[op.sources[0]] + first * op.in_channels;
      else
        values = gather((Kept*)scratch.take(needed), first, count);
      if (in_tiles)
        multiply_in_tiles((const Taken*)values, first, count, columns, ahead);
      else
        multiply((const Taken*)values, first, count, columns, ahead);
    }
  }

 protected:
  // Lay the readings of `count` pixels side by side, (pixels, sources, taps, channels); returns `to`.
  Kept* gather(Kept* to, long first, long count) const {
    const long area = long(op.out_height) * op.out_width, width = steps * F::DEPTH;
    // Counted on from pixel to pixel: a division takes as long as a pixel of the first layer.
    long row = first / area;
    int out_y = first % area / op.out_width, out_x = first % area % op.out_width;
    for (long i = 0; i < count; ++i) {
      const int top = out_y * op.stride_y - op.padding_y;
      const int left = out_x * op.stride_x - op.padding_x;
      const T* gate = op.gate < 0 ? nullptr : (const T*)buffers[op.gate] + row * op.in_channels;
      Kept* begin = to + i * width;
      Kept* next = begin;
      for (int s = 0; s < op.source_count; ++s) {
        int channels = op.source_channels[s];
        const T* map = (const T*)buffers[op.sources[s]] + row * op.height * op.width * channels;
        for (int ky = 0; ky < op.kernel_height; ++ky) {
          int y = top + ky * op.dilation_y;
          if (op.dilation_x == 1 && unsigned(y) < unsigned(op.height) && left >= 0 &&
              left + op.kernel_width <= op.width) {  // the pixels of a row lie side by side
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
              memset((void*)next, 0, channels * sizeof(Kept));
          }
        }
        if (gate) gate += channels;
      }
      static_assert(F::DEPTH <= 2);
      if (next < begin + width) *next = Kept{};
      if (++out_x < op.out_width) continue;
      out_x = 0;
      if (++out_y < op.out_height) continue;
      out_y = 0, ++row;
    }
    return to;
  }

  void take(Kept* to, const T* from, const T* gate, int channels) const {
    if (sizeof(T) == sizeof(Kept) && !gate && op.source_activation == IDENTITY) {
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

  void multiply(const Taken* values, long first, long count, Share columns, Ahead& ahead) const {
    const Taken* rows[BLOCK_PIXELS];
    for (long i = 0; i < count; ++i) rows[i] = values + i * steps;
    this->multiply_whole({first, count, columns, rows, nullptr}, ahead);
  }

  // The last tile begins early enough to end with the last pixel: some are made twice.
  void multiply_in_tiles(const Taken* values, long first, long count, Share columns,
                         Ahead& ahead) const {
    if constexpr (HAS_TILES) {
      const Tiles tiles(steps);
      alignas(64) float sums[2 * Tiles::ROWS * LANES];
      for (long v = columns.begin; v < columns.end; ++v) {
        const Kept* w = weights + v * steps * LANES * F::DEPTH;
        for (long i = 0, rows; i < count; i += rows) {
          const bool both = count - i > Tiles::ROWS && count >= 2 * Tiles::ROWS;
          rows = both ? 2 * Tiles::ROWS : Tiles::ROWS;
          ahead.proceed(std::min(rows, count - i) * steps);
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
