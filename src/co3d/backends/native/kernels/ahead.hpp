// Asks for what is read next, bit by bit, while something else is computed.
#pragma once

#include <algorithm>

#include "operation.hpp"

constexpr long LINE = 64;  // bytes of the caches' lines

// Asks for COLUMNS rows of lines, side by side, while a piece of work is done.
template <int COLUMNS>
class Panel {
 public:
  // `stride`: bytes from one row to the next; `length`: bytes of each.
  Panel(const void* from, long stride, long length, long work)
      : next((const char*)from), stride(stride), rate((length / LINE << SHIFT) / work) {}

  // A part of the work is done next.
  void proceed(long part) {
    done += part;
    for (const long due = done * rate >> SHIFT; asked < due; ++asked, next += LINE)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) __builtin_prefetch(next + j * stride, 0, 2);
  }

 private:
  static constexpr long SHIFT = 20;
  const char* next;
  const long stride, rate;  // rate: lines for a unit of work, times 2^SHIFT
  long asked = 0, done = 0;
};

// Asks for what the next operations read.
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
  static constexpr long SHIFT = 20;
  struct Share {
    const char *next, *end;
  };
  Share shares[MOST_AHEAD];
  Share* share = shares;
  long rate, asked = 0, done = 0;  // rate: lines for a unit of work, times 2^SHIFT
};
