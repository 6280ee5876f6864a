// Operations on whole maps: means and selections.
#pragma once

#include <algorithm>

#include "operation.hpp"
#include "share.hpp"
#include "vectors.hpp"

// The mean over the pixels of a map, from the sums of its `source_count` chunks.
template <typename T>
void take_mean(const Operation& op, void* const* buffers) {
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

// A map where its row of the batch is marked, and `fill` elsewhere.
template <typename T>
void select_rows(const Operation& op, void* const* buffers, int chunk, int chunks) {
  const long size = long(op.height) * op.width * op.out_channels;
  const bool* marks = (const bool*)buffers[op.gate];
  Share part(size, chunk, chunks, 64);
  T filled[LANES];
  store(filled, spread(op.fill));
  for (int row = 0; row < op.batch; ++row) {
    const T* from = (const T*)buffers[op.sources[0]] + row * size;
    T* to = (T*)buffers[op.out] + row * size;
    if (marks[row])
      std::copy(from + part.begin, from + part.end, to + part.begin);
    else
      std::fill(to + part.begin, to + part.end, filled[0]);
  }
}
