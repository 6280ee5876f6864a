// Asks for what the next operations read, bit by bit, while this one computes.
#pragma once

#include <algorithm>

#include "operation.hpp"

class Ahead {
 public:
  // Of each buffer a chunk asks for its share: of large maps that is the part that this thread
  // reads, and the rest comes from the other threads' requests. The share is asked for evenly over
  // `work`: more requests at once than the processor can keep would hold the computation up.
  Ahead(const Operation& op, void* const* buffers, long chunk, long chunks, long work) {
    long lines = 0;
    for (int i = 0; i < op.ahead_count; ++i) {
      const long all = op.ahead_bytes[i] / LINE;
      const char* const buffer = (const char*)buffers[op.ahead[i]];
      shares[i] = {buffer + all * chunk / chunks * LINE, buffer + all * (chunk + 1) / chunks * LINE};
      lines += (shares[i].end - shares[i].next) / LINE;
    }
    rate = work > 0 ? (lines << SHIFT) / work : 0;
  }

  // A part of the work is done next.
  void proceed(long part) {
    done += part;
    const long due = done * rate >> SHIFT;
    while (asked < due) {
      while (share->next == share->end) ++share;
      const char* next = share->next;
      const char* const end = std::min(share->end, next + (due - asked) * LINE);
      asked += (end - next) / LINE;
      for (; next < end; next += LINE) __builtin_prefetch(next, 0, 2);  // into the second cache
      share->next = end;
    }
  }

 private:
  static constexpr long LINE = 64, SHIFT = 20;
  struct Share {
    const char *next, *end;
  };
  Share shares[MOST_AHEAD];
  Share* share = shares;
  long rate, asked = 0, done = 0;  // rate: lines for a unit of work, times 2^SHIFT
};
