// Operations on whole maps: means, selections and maximum pools.
#pragma once

#include <algorithm>
#include <limits>

#include "operation.hpp"
#include "work_range.hpp"
#include "vectors.hpp"

// The mean over the pixels of a map, from its `source_count` partial sums, one per chunk.
template <typename T>
void finish_mean(const Operation& op, void* const* buffers) {
  const int channels = op.out_channels, vectors = count_vectors(channels);
  const float* sums = (const float*)buffers[op.sums];
  const long size = long(op.batch) * vectors * LANES;
  T* out = (T*)buffers[op.out];
  const float scale = 1.0f / (float(op.height) * op.width);
  for (long i = 0; i < long(op.batch) * vectors; ++i) {
    Vector total{};
    for (int m = 0; m < op.source_count; ++m) total += load(sums + m * size + i * LANES);
    T* to = out + i / vectors * channels + vector_start(i % vectors, channels);
    if (channels < LANES)
      store_some(to, total * scale, channels);
    else
      store(to, total * scale);
  }
}

// torch.where(mask, source, fill), with one mask value per batch row.
template <typename T>
void select_rows(const Operation& op, void* const* buffers, int chunk, int chunks) {
  const long size = long(op.height) * op.width * op.out_channels;
  const bool* mask = (const bool*)buffers[op.gate];
  WorkRange part(size, chunk, chunks, 64);
  T filled[LANES];
  store(filled, broadcast(op.fill));
  for (int row = 0; row < op.batch; ++row) {
    const T* from = (const T*)buffers[op.sources[0]] + row * size;
    T* to = (T*)buffers[op.out] + row * size;
    if (mask[row])
      std::copy(from + part.begin, from + part.end, to + part.begin);
    else
      std::fill(to + part.begin, to + part.end, filled[0]);
  }
}

// The greater of two; a NaN where either is one.
inline Vector maximum(Vector best, Vector other) {
  return (other > best) | (other != other) ? other : best;
}

// Max pooling over a window of all sources. Padding is minus infinity.
template <typename T>
void max_pool(const Operation& op, void* const* buffers, int chunk, int chunks) {
  const int channels = op.out_channels, vectors = count_vectors(channels);
  const bool is_narrow = channels < LANES;
  const WorkRange rows(long(op.batch) * op.out_height, chunk, chunks);
  for (long row = rows.begin; row < rows.end; ++row) {
    const long item = row / op.out_height;
    const int top = row % op.out_height * op.stride_y - op.padding_y;
    T* to = (T*)buffers[op.out] + row * op.out_width * channels;
    for (int x = 0; x < op.out_width; ++x, to += channels)
      for (int v = 0; v < vectors; ++v) {
        const int start = vector_start(v, channels);
        Vector best = broadcast(-std::numeric_limits<float>::infinity());
        for (int s = 0; s < op.source_count; ++s)
          for (int ky = 0; ky < op.kernel_height; ++ky) {
            const int at_y = top + ky * op.dilation_y;
            if (unsigned(at_y) >= unsigned(op.height)) continue;
            const T* line = (const T*)buffers[op.sources[s]] +
                            (item * op.height + at_y) * op.width * channels + start;
            for (int kx = 0; kx < op.kernel_width; ++kx) {
              const int at_x = x * op.stride_x - op.padding_x + kx * op.dilation_x;
              if (unsigned(at_x) >= unsigned(op.width)) continue;
              const T* from = line + long(at_x) * channels;
              best = maximum(best, is_narrow ? load_some(from, channels) : load(from));
            }
          }
        if (is_narrow)
          store_some(to, best, channels);
        else
          store(to + start, best);
      }
  }
}
