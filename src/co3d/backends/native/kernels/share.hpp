// How the members of a team divide a piece of work.
#pragma once

#include <algorithm>

// The part of [0, count) that a member takes, in units of `grain`.
struct Share {
  long begin, end;
  Share(long count, int member, int members, long grain = 1) {
    long units = (count + grain - 1) / grain;
    begin = std::min(count, units * member / members * grain);
    end = std::min(count, units * (member + 1) / members * grain);
  }
};
