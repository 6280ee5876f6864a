// Frames as they come, in planes of floats, laid out as maps.
#pragma once

#include "vectors.hpp"

// One frame of three planes of `area` pixels each. Interleaving alone is what compilers make fast
// code of, so numbers are converted before, some pixels at a time.
template <typename T>
void lay_out_frame(const float* planes, T* map, long area) {
  constexpr long CHANNELS = 3, BLOCK = 64;
  T block[CHANNELS][BLOCK];
  long first = 0;
  for (; first + BLOCK <= area; first += BLOCK) {
    for (long c = 0; c < CHANNELS; ++c)
      for (long i = 0; i < BLOCK; i += LANES)
        store(block[c] + i, load(planes + c * area + first + i));
    T* __restrict to = map + first * CHANNELS;
    for (long i = 0; i < BLOCK; ++i)
      for (long c = 0; c < CHANNELS; ++c) to[i * CHANNELS + c] = block[c][i];
  }
  for (; first < area; ++first)
    for (long c = 0; c < CHANNELS; ++c)
      store_some(map + first * CHANNELS + c, load_some(planes + c * area + first, 1), 1);
}
