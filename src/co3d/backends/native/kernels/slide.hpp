// 3x3 depthwise convolutions: each input is loaded once and added to all results that use it.
#pragma once

#include "factor.hpp"

// Computes TILE neighbouring results in each of ROWS consecutive rows.
template <typename T, int STRIDE, int TILE, int ROWS>
struct Slide {
  using F = DepthwiseFactor<T>;
  using Scalar = typename F::Scalar;
  using Lanes = typename F::Lanes;
  static constexpr int SIZE = LANES * F::DEPTH;
  // Rows of inputs, and inputs per row.
  static constexpr int LINES = (ROWS - 1) * STRIDE + 3, SPAN = (TILE - 1) * STRIDE + 3;

  // The inputs. `lines`: LINES rows per group, nullptr for rows outside of the map.
  // `offset`: from the start of a row to the first input. `step`: to the next input. Only the first
  // and the last input of a row can be outside of the map.
  struct Source {
    const T* const* lines;
    int groups;
    long offset, step;
    bool has_first, has_last;
  };

  // All loops are unrolled, so that the sums, the weights and one input stay in registers.
  // Weights: (groups, 3, 3, LANES, DEPTH).
  static inline __attribute__((always_inline)) void run(const Source& source, const Scalar* weights,
                                                        Vector (&made)[ROWS][TILE]) {
    alignas(64) static constexpr T zeros[SIZE] = {};
    const T* const* lines = source.lines;
    const long offset = source.offset, step = source.step;
    const bool has_first = source.has_first, has_last = source.has_last;
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 10
      for (int i = 0; i < TILE; ++i) made[r][i] = Vector{};
    for (int g = 0; g < source.groups; ++g, lines += LINES, weights += 9 * SIZE) {
#pragma GCC unroll 5
      for (int y = 0; y < LINES; ++y) {
        if (!lines[y]) continue;
        const T* at = lines[y] + offset;
        Lanes taps[ROWS][3];
#pragma GCC unroll 2
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 3
          for (int kx = 0; kx < 3; ++kx)
            if (const int ky = y - r * STRIDE; ky >= 0 && ky < 3)
              taps[r][kx] = F::load_weights(weights + (ky * 3 + kx) * SIZE);
#pragma GCC unroll 24
        for (int i = 0; i < SPAN; ++i, at += step) {
          const bool is_outside = (i == 0 && !has_first) || (i == SPAN - 1 && !has_last);
          const Lanes value = F::read(is_outside ? zeros : at);
#pragma GCC unroll 2
          for (int r = 0; r < ROWS; ++r) {
            const int ky = y - r * STRIDE;
            if (ky < 0 || ky > 2) continue;
#pragma GCC unroll 3
            for (int kx = 0; kx < 3; ++kx)
              if ((i - kx) % STRIDE == 0 && i - kx >= 0 && (i - kx) / STRIDE < TILE)
                F::multiply_add(made[r][(i - kx) / STRIDE], value, taps[r][kx]);
          }
        }
      }
    }
  }
};
