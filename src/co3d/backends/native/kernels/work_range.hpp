// How threads, or chunks, divide a piece of work.
#pragma once

#include <algorithm>

// The part of [0, count) that one of `parts` takes, in multiples of `grain`.
struct WorkRange {
  long begin, end;
  WorkRange(long count, int part, int parts, long grain = 1) {
    long units = (count + grain - 1) / grain;
    begin = std::min(count, units * part / parts * grain);
    end = std::min(count, units * (part + 1) / parts * grain);
  }
};
