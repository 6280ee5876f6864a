// Dense convolutions of many readings a result, as products of some of them at a time.
#pragma once

#include <algorithm>

#include "convolve.hpp"
#include "operation.hpp"
#include "scratch.hpp"
#include "share.hpp"
#include "vectors.hpp"

// All pixels take one part of their readings before the next one, and their sums wait meanwhile. So
// the weights of a part stay in the first cache until all pixels have passed, those of the next one
// are asked for, and readings are taken where they lie, instead of side by side for every pixel.
template <typename T>
class DeepConvolution : Convolution<T> {
  using C = Convolution<T>;
  using typename C::Block, typename C::F, typename C::Kept, typename C::Part, typename C::Taken;
  using C::buffers, C::op, C::steps;

 public:
  using C::C;

  // Whether an operation reads much for a result, all of it where it lies.
  static bool suits(const Operation& op, void* const* buffers) {
    const C whole(op, buffers);
    const long pixels = long(op.batch) * op.out_height * op.out_width;
    const long least = C::is_shared_by_pixels(op) ? LEAST_READINGS : LEAST_OF_FEW_PIXELS;
    return pixels >= LEAST_PIXELS && whole.count_inputs() >= least && !whole.uses_tiles() &&
           op.gate < 0 && op.source_activation == IDENTITY && sizeof(T) == sizeof(Kept) &&
           std::all_of(op.source_channels, op.source_channels + op.source_count, [](int channels) {
             return channels >= PART && channels % F::DEPTH == 0;
           });
  }

  void run(int chunk, int chunks, Scratch& scratch) {
    const auto [pixels, columns] = this->share_out(chunk, chunks);
    const long count = pixels.end - pixels.begin, vectors = columns.end - columns.begin;
    if (count == 0) return;
    const long sums = count * vectors * LANES;
    const int widest = *std::max_element(op.source_channels, op.source_channels + op.source_count);
    const auto memory =
        (float*)scratch.take(sums * sizeof(float) + count * sizeof(Taken*) + widest * sizeof(T));
    const auto rows = (const Taken**)(memory + sums);
    const auto nothing = (Taken*)(rows + count);
    std::fill(nothing, nothing + widest / F::DEPTH, Taken{});
    const Block block{pixels.begin, count, columns, rows, memory};
    const bool is_read_once = op.kernel_height * op.kernel_width == 1;
    Ahead ahead(op, buffers, chunk, chunks, count * vectors * steps);
    long done = 0;  // steps
    for (int s = 0; s < op.source_count; ++s)
      for (int ky = 0; ky < op.kernel_height; ++ky)
        for (int kx = 0; kx < op.kernel_width; ++kx) {
          find_rows(rows, nothing, pixels, s, ky, kx);
          for (int left = op.source_channels[s]; left > 0;) {
            const int channels = left < 2 * PART ? left : PART;
            const Part part{done, channels / F::DEPTH, is_read_once && left > channels};
            this->multiply_part(part, block, ahead);
            for (long i = 0; i < count; ++i) rows[i] += part.length;
            done += part.length, left -= channels;
          }
        }
  }

 private:
  static constexpr int PART = 128;  // readings: weights of 64 channels take 32 kB
  // With fewer readings sums wait too often. Where weights are larger than maps, asking for them
  // pays sooner.
  static constexpr int LEAST_READINGS = 1024, LEAST_OF_FEW_PIXELS = 512, LEAST_PIXELS = 24;

  // Where the readings of one tap begin, for each pixel; beside the map there is nothing.
  void find_rows(const Taken** rows, const Taken* nothing, Share pixels, int s, int ky,
                 int kx) const {
    const long area = long(op.out_height) * op.out_width;
    const long width = op.source_channels[s] / F::DEPTH;
    const auto maps = (const Taken*)buffers[op.sources[s]];
    // Counted on from pixel to pixel, without a division for each.
    long member = pixels.begin / area;
    int out_y = pixels.begin % area / op.out_width, out_x = pixels.begin % op.out_width;
    for (long i = pixels.begin; i < pixels.end; ++i) {
      const int y = out_y * op.stride_y - op.padding_y + ky * op.dilation_y;
      const int x = out_x * op.stride_x - op.padding_x + kx * op.dilation_x;
      const bool is_there = unsigned(y) < unsigned(op.height) && unsigned(x) < unsigned(op.width);
      *rows++ = is_there ? maps + ((member * op.height + y) * op.width + x) * width : nothing;
      if (++out_x < op.out_width) continue;
      out_x = 0;
      if (++out_y < op.out_height) continue;
      out_y = 0, ++member;
    }
  }
};
