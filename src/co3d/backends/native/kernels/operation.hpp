// One operation of a step program, as co3d/backends/native/operation.py describes it.
#pragma once

#include <cstdint>

constexpr int MOST_SOURCES = 64, MOST_AHEAD = 8, MOST_BESIDE = 8;

enum Kind : int32_t { CONVOLVE, SUM_DEPTHWISE, MEAN, SELECT, GREATEST };

// Maps lie in memory as (rows of the batch, height, width, channels). Numbers of buffers are
// indices of the table that a run is given; -1 stands for none.
struct Operation {
  int32_t kind;
  int32_t batch, height, width;          // of the sources
  int32_t out_height, out_width;
  int32_t kernel_height, kernel_width;
  int32_t stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int32_t in_channels, out_channels;     // in_channels: of all sources of a convolution
  int32_t activation, source_activation;
  int32_t weight, bias, residual;
  int32_t gate;                          // (batch, in_channels), multiplied with the source; of a
                                         // selection (batch) marks
  int32_t out, sums;                     // sums: of a map over its pixels, per member and vector
  int32_t is_result;                     // of a convolution: the out buffer holds floats
  int32_t is_planes;                     // of a convolution: its source is a frame as it was given
  int32_t source_count;                  // of a mean: how many partial sums there are
  int32_t sources[MOST_SOURCES];
  int32_t source_channels[MOST_SOURCES];
  int32_t added_count;                   // maps that are added to a depthwise sum
  int32_t added[MOST_BESIDE];
  int32_t beside_count;                  // further sums of the same readings, by other weights
  int32_t beside[MOST_BESIDE];
  int32_t ahead_count;                   // buffers that a convolution asks for, for later ones
  int32_t ahead[MOST_AHEAD];
  int32_t ahead_bytes[MOST_AHEAD];
  float fill;   // of a selection
  float scale;  // of a depthwise sum: the factor of all readings
};
