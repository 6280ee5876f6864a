// Sums of depthwise convolutions of several maps: one per frame that a temporal kernel reads.
#pragma once

#include "operation.hpp"
#include "share.hpp"
#include "vectors.hpp"

template <typename T>
struct DepthwiseSum {
  const Operation& op;
  void* const* buffers;
  const float* weights;  // (sources, taps, vectors * LANES), or nullptr for ones
  const float* bias;     // (vectors * LANES)
  T* out;
  int vectors;

  DepthwiseSum(const Operation& op, void* const* buffers)
      : op(op),
        buffers(buffers),
        weights(op.weight < 0 ? nullptr : (const float*)buffers[op.weight]),
        bias(op.bias < 0 ? nullptr : (const float*)buffers[op.bias]),
        out((T*)buffers[op.out]),
        vectors(count_vectors(op.out_channels)) {}

  // Units of work: one vector of channels of a band of rows of pixels. Vectors of a band follow
  // each other, for they share the lines of memory that the rows come in.
  static constexpr int BAND = 2;

  static long count_units(const Operation& op) {
    return long(op.batch) * count_bands(op) * count_vectors(op.out_channels);
  }

  static int count_bands(const Operation& op) { return (op.out_height + BAND - 1) / BAND; }

  void run(int chunk, int chunks) {
    Share units(count_units(op), chunk, chunks);
    float* sums = nullptr;
    if (op.sums >= 0) {
      long size = long(op.batch) * vectors * LANES;
      sums = (float*)buffers[op.sums] + chunk * size;
      memset(sums, 0, size * sizeof(float));
    }
    for (long unit = units.begin; unit < units.end; ++unit) {
      int vector = unit % vectors;
      int y = unit / vectors % count_bands(op) * BAND;
      long batch = unit / vectors / count_bands(op);
      float* sum = sums ? sums + (batch * vectors + vector) * LANES : nullptr;
      band(batch, vector, y, std::min(BAND, op.out_height - y), sum);
    }
  }

 private:
  void band(long batch, int vector, int y, int rows, float* sums) const {
    constexpr int WIDE = MANY_REGISTERS ? 8 : 4;
    const bool even = op.dilation_x == 1 && op.dilation_y == 1 && op.out_channels >= LANES;
    if (even && op.kernel_width == 3 && op.stride_x == 1 && op.stride_y == 1 && rows == 2)
      return row_of<3, 1, WIDE, 2>(batch, vector, y, sums);
    for (int i = y; i < y + rows; ++i)
      if (even && op.kernel_width == 3 && op.stride_x == 1)
        row_of<3, 1, WIDE, 1>(batch, vector, i, sums);
      else if (even && op.kernel_width == 3 && op.stride_x == 2)
        row_of<3, 2, WIDE, 1>(batch, vector, i, sums);
      else if (even && op.kernel_width == 1 && op.stride_x == 1)
        row_of<1, 1, WIDE, 1>(batch, vector, i, sums);
      else
        row_of_any(batch, vector, i, sums);
  }

  template <int KERNEL, int STRIDE, int TILE, int ROWS>
  void row_of(long batch, int vector, int y, float* sums) const {
    if (TILE > 4 && op.out_width < TILE) return row_of<KERNEL, STRIDE, 4, ROWS>(batch, vector, y, sums);
    Vector total{};
    if (op.out_width < TILE) {
      for (int x = 0; x < op.out_width; ++x)
        total += tile<KERNEL, STRIDE, 1, ROWS>(batch, vector, y, x, 0);
    } else {
      int x = 0;
      for (; x + TILE <= op.out_width; x += TILE)
        total += tile<KERNEL, STRIDE, TILE, ROWS>(batch, vector, y, x, 0);
      if (x < op.out_width) {
        // Move the last tile back; what was there already is not summed again.
        int moved = op.out_width - TILE;
        total += tile<KERNEL, STRIDE, TILE, ROWS>(batch, vector, y, moved, x - moved);
      }
    }
    if (sums) store(sums, load(sums) + total);
  }

  // A tile of TILE pixels of ROWS rows that lie below each other; with several rows the stride in
  // y is 1. Each reading is added to all results that it belongs to.
  template <int KERNEL, int STRIDE, int TILE, int ROWS>
  Vector tile(long batch, int vector, int y, int x, int summed_from) const {
    constexpr int SPAN = (TILE - 1) * STRIDE + KERNEL;
    const int channels = op.out_channels, c = vector_start(vector, channels);
    const int left = x * STRIDE - op.padding_x, top = y * op.stride_y - op.padding_y;
    const bool inside = left >= 0 && left + SPAN <= op.width;
    const Vector start = bias ? load(bias + vector * LANES) : Vector{};
    Vector made[ROWS][TILE];
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < TILE; ++i) made[r][i] = start;
    for (int s = 0; s < op.source_count; ++s) {
      const T* map = (const T*)buffers[op.sources[s]] + batch * op.height * op.width * channels;
      for (int line = 0; line < op.kernel_height + ROWS - 1; ++line) {
        const int source_y = top + line;
        if (unsigned(source_y) >= unsigned(op.height)) continue;
        const T* from = map + (long(source_y) * op.width + left) * channels + c;
        const bool above = line < op.kernel_height, below = ROWS == 2 && line > 0;
        Vector taps[ROWS][KERNEL];
#pragma GCC unroll 4
        for (int kx = 0; kx < KERNEL; ++kx) {
          if (above) taps[0][kx] = tap(s, line, kx, vector);
          if (below) taps[ROWS - 1][kx] = tap(s, line - 1, kx, vector);
        }
        if (!inside) {
#pragma GCC unroll 20
          for (int i = 0; i < SPAN; ++i)
            if (unsigned(left + i) < unsigned(op.width)) {
              Vector value = load(from + i * channels);
              if (above) add<KERNEL, STRIDE, TILE>(made[0], taps[0], value, i);
              if (below) add<KERNEL, STRIDE, TILE>(made[ROWS - 1], taps[ROWS - 1], value, i);
            }
        } else if (above && below) {
#pragma GCC unroll 20
          for (int i = 0; i < SPAN; ++i) {
            Vector value = load(from + i * channels);
            add<KERNEL, STRIDE, TILE>(made[0], taps[0], value, i);
            add<KERNEL, STRIDE, TILE>(made[ROWS - 1], taps[ROWS - 1], value, i);
          }
        } else if (above) {
#pragma GCC unroll 20
          for (int i = 0; i < SPAN; ++i)
            add<KERNEL, STRIDE, TILE>(made[0], taps[0], load(from + i * channels), i);
        } else {
#pragma GCC unroll 20
          for (int i = 0; i < SPAN; ++i)
            add<KERNEL, STRIDE, TILE>(made[ROWS - 1], taps[ROWS - 1], load(from + i * channels), i);
        }
      }
    }
    T* to = out + ((batch * op.out_height + y) * op.out_width + x) * channels + c;
    Vector total{};
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < TILE; ++i) {
        Vector value = activate(made[r][i], op.activation);
        store(to + (long(r) * op.out_width + i) * channels, value);
        if (i >= summed_from) total += value;
      }
    return total;
  }

  Vector tap(int source, int ky, int kx, int vector) const {
    return weights ? load(weights + weight_at(source, ky, kx, vector)) : spread(1.0f);
  }

  // Add the i-th reading of a tile to those of its results that it belongs to.
  template <int KERNEL, int STRIDE, int TILE>
  static inline __attribute__((always_inline)) void add(Vector* made, const Vector* taps,
                                                         Vector value, int i) {
#pragma GCC unroll 4
    for (int kx = 0; kx < KERNEL; ++kx)
      if ((i - kx) % STRIDE == 0 && i - kx >= 0 && (i - kx) / STRIDE < TILE)
        made[(i - kx) / STRIDE] += value * taps[kx];
  }

  // Any kernel, any stride, any number of channels; one pixel at a time.
  void row_of_any(long batch, int vector, int y, float* sums) const {
    const int channels = op.out_channels, c = vector_start(vector, channels);
    const int count = std::min(channels, LANES);
    Vector total{};
    for (int x = 0; x < op.out_width; ++x) {
      Vector value = bias ? load(bias + vector * LANES) : Vector{};
      for (int s = 0; s < op.source_count; ++s) {
        const T* map = (const T*)buffers[op.sources[s]] + batch * op.height * op.width * channels;
        for (int ky = 0; ky < op.kernel_height; ++ky)
          for (int kx = 0; kx < op.kernel_width; ++kx) {
            int source_y = y * op.stride_y - op.padding_y + ky * op.dilation_y;
            int source_x = x * op.stride_x - op.padding_x + kx * op.dilation_x;
            if (unsigned(source_y) >= unsigned(op.height) || unsigned(source_x) >= unsigned(op.width))
              continue;
            Vector read = load_some(map + (long(source_y) * op.width + source_x) * channels + c, count);
            value += weights ? read * load(weights + weight_at(s, ky, kx, vector)) : read;
          }
      }
      value = activate(value, op.activation);
      total += value;
      store_some(out + ((batch * op.out_height + y) * op.out_width + x) * channels + c, value, count);
    }
    if (sums) store(sums, load(sums) + total);
  }

  long weight_at(int source, int ky, int kx, int vector) const {
    return (((long(source) * op.kernel_height + ky) * op.kernel_width + kx) * vectors + vector) * LANES;
  }
};

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
