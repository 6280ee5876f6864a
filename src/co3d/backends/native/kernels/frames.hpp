// Copies frames from NCHW float32 to NHWC in the maps' precision.
#pragma once

#include "vectors.hpp"

// Copy one frame of three channels of `area` pixels each. Numbers are converted before they are
// interleaved, 64 pixels at a time, because compilers vectorise a loop that only interleaves.
template <typename T>
void lay_out_frame(const float* frame, T* map, long area) {
  constexpr long CHANNELS = 3, BLOCK = 64;
  T block[CHANNELS][BLOCK];
  long first = 0;
  for (; first + BLOCK <= area; first += BLOCK) {
    for (long c = 0; c < CHANNELS; ++c)
      for (long i = 0; i < BLOCK; i += LANES)
        store(block[c] + i, load(frame + c * area + first + i));
    T* __restrict to = map + first * CHANNELS;
    for (long i = 0; i < BLOCK; ++i)
      for (long c = 0; c < CHANNELS; ++c) to[i * CHANNELS + c] = block[c][i];
  }
  for (; first < area; ++first)
    for (long c = 0; c < CHANNELS; ++c)
      store_some(map + first * CHANNELS + c, load_some(frame + c * area + first, 1), 1);
}
