// One operation of a step program, as co3d/backends/native/operation.py describes it.
#pragma once

#include <cstdint>

constexpr int MOST_SOURCES = 64, MOST_PREFETCHES = 8, MOST_ADDITIONAL = 8;

enum Kind : int32_t { CONVOLVE, SUM_DEPTHWISE, MEAN, SELECT, MAX_POOL };

// Maps are NHWC in memory. Buffers are indices of a table of addresses; -1 is none.
struct Operation {
  int32_t kind;
  int32_t batch, height, width;          // of the sources
  int32_t out_height, out_width;
  int32_t kernel_height, kernel_width;
  int32_t stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int32_t in_channels, out_channels;     // in_channels: the sum over a convolution's sources
  int32_t activation, source_activation;
  int32_t weight, bias, residual;
  int32_t gate;                          // CONVOLVE: (batch, in_channels) factors of the source;
                                         // SELECT: (batch) mask; SUM_DEPTHWISE: a divisor
  int32_t out, sums;                     // sums: partial sums of a map over its pixels
  int32_t is_float_result;                     // CONVOLVE: the out buffer holds floats
  int32_t is_nchw;                       // CONVOLVE: the source is the caller's frame in NCHW
  int32_t source_count;                  // MEAN: the number of partial sums
  int32_t sources[MOST_SOURCES];
  int32_t source_channels[MOST_SOURCES];
  int32_t added_count;                   // SUM_DEPTHWISE: maps that are added to the sum
  int32_t added[MOST_ADDITIONAL];
  int32_t additional_count;              // SUM_DEPTHWISE: further sums, with other weights
  int32_t additional[MOST_ADDITIONAL];
  int32_t prefetch_count;                // CONVOLVE: buffers that it prefetches
  int32_t prefetch[MOST_PREFETCHES];
  int32_t prefetch_bytes[MOST_PREFETCHES];
  float fill;   // SELECT: the value where the mask is false
  float scale;  // SUM_DEPTHWISE: a factor of the sum
};
