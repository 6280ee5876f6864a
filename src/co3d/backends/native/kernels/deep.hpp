// Dense convolutions with many inputs per result, computed in parts of the inputs (K-blocking).
#pragma once

#include <algorithm>

#include "convolve.hpp"
#include "operation.hpp"
#include "scratch.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

// One part of the inputs is multiplied for all pixels before the next part, and partial sums are
// kept in memory. The weights of a part then stay in L1 for all pixels while those of the next part
// are prefetched, and inputs are read in place instead of being gathered for every pixel.
template <typename T>
class DeepConvolution : Convolution<T> {
  using C = Convolution<T>;
  using typename C::Block, typename C::F, typename C::Scalar, typename C::Part, typename C::Operand;
  using C::buffers, C::op, C::steps;

 public:
  using C::C;

  // Whether an operation has enough inputs per result, and all can be read in place.
  static bool suits(const Operation& op, void* const* buffers) {
    const C whole(op, buffers);
    const long pixels = long(op.batch) * op.out_height * op.out_width;
    const long least = C::splits_pixels(op) ? LEAST_INPUTS : LEAST_OF_FEW_PIXELS;
    return pixels >= LEAST_PIXELS && whole.count_inputs() >= least && !whole.uses_tiles() &&
           op.gate < 0 && op.source_activation == IDENTITY && sizeof(T) == sizeof(Scalar) &&
           std::all_of(op.source_channels, op.source_channels + op.source_count, [](int channels) {
             return channels >= PART && channels % F::DEPTH == 0;
           });
  }

  void run(int chunk, int chunks, Scratch& scratch) {
    const auto [pixels, columns] = this->divide_work(chunk, chunks);
    const long count = pixels.end - pixels.begin, vectors = columns.end - columns.begin;
    if (count == 0) return;
    const long sums = count * vectors * LANES;
    const int widest = *std::max_element(op.source_channels, op.source_channels + op.source_count);
    const auto memory =
        (float*)scratch.take(sums * sizeof(float) + count * sizeof(Operand*) + widest * sizeof(T));
    const auto rows = (const Operand**)(memory + sums);
    const auto nothing = (Operand*)(rows + count);
    std::fill(nothing, nothing + widest / F::DEPTH, Operand{});
    const Block block{pixels.begin, count, columns, rows, memory};
    const bool is_read_once = op.kernel_height * op.kernel_width == 1;
    Prefetch prefetch(op, buffers, chunk, chunks, count * vectors * steps);
    long done = 0;  // steps
    for (int s = 0; s < op.source_count; ++s)
      for (int ky = 0; ky < op.kernel_height; ++ky)
        for (int kx = 0; kx < op.kernel_width; ++kx) {
          find_rows(rows, nothing, pixels, s, ky, kx);
          for (int left = op.source_channels[s]; left > 0;) {
            const int channels = left < 2 * PART ? left : PART;
            const Part part{done, channels / F::DEPTH, is_read_once && left > channels};
            this->multiply_part(part, block, prefetch);
            for (long i = 0; i < count; ++i) rows[i] += part.length;
            done += part.length, left -= channels;
          }
        }
  }

 private:
  static constexpr int PART = 128;  // inputs; their weights for 64 output channels take 32 kB
  // With fewer inputs, loading and storing partial sums costs more than it saves. Where weights are
  // larger than maps, prefetching them pays from fewer inputs on.
  static constexpr int LEAST_INPUTS = 1024, LEAST_OF_FEW_PIXELS = 512, LEAST_PIXELS = 24;

  // Find where each pixel's inputs of one tap begin; `nothing` (zeros) where they are in the
  // padding.
  void find_rows(const Operand** rows, const Operand* nothing, WorkRange pixels, int s, int ky,
                 int kx) const {
    const long area = long(op.out_height) * op.out_width;
    const long width = op.source_channels[s] / F::DEPTH;
    const auto maps = (const Operand*)buffers[op.sources[s]];
    // Coordinates are incremented, which saves a division per pixel.
    long item = pixels.begin / area;
    int out_y = pixels.begin % area / op.out_width, out_x = pixels.begin % op.out_width;
    for (long i = pixels.begin; i < pixels.end; ++i) {
      const int y = out_y * op.stride_y - op.padding_y + ky * op.dilation_y;
      const int x = out_x * op.stride_x - op.padding_x + kx * op.dilation_x;
      const bool is_there = unsigned(y) < unsigned(op.height) && unsigned(x) < unsigned(op.width);
      *rows++ = is_there ? maps + ((item * op.height + y) * op.width + x) * width : nothing;
      if (++out_x < op.out_width) continue;
      out_x = 0;
      if (++out_y < op.out_height) continue;
      out_y = 0, ++item;
    }
  }
};
