// Asks for what the next operations read, bit by bit, while this one computes.
#pragma once

#include "operation.hpp"

class Ahead {
 public:
  // Of each buffer a chunk asks for its share: of large maps that is the part that this thread
  // reads, and the rest comes from the other threads' requests. The share is asked for evenly over
  // `work`: more requests at once than the processor can keep would hold the computation up.
  Ahead(const Operation& op, void* const* buffers, long chunk, long chunks, long work)
      : op(op), work(work) {
    for (int i = 0; i < op.ahead_count; ++i) {
      const long all = op.ahead_bytes[i] / LINE;
      next[i] = (const char*)buffers[op.ahead[i]] + all * chunk / chunks * LINE;
      left[i] = all * (chunk + 1) / chunks - all * chunk / chunks;
      lines += left[i];
    }
  }

  // A part of the work is done next.
  void proceed(long part) {
    done += part;
    for (const long due = lines * done / work; asked < due; ++asked) {
      while (left[buffer] == 0) ++buffer;
      __builtin_prefetch(next[buffer], 0, 2);  // to be read, into the second cache
      next[buffer] += LINE, --left[buffer];
    }
  }

 private:
  static constexpr long LINE = 64;
  const Operation& op;
  const char* next[MOST_AHEAD];
  long left[MOST_AHEAD];
  int buffer = 0;
  long lines = 0, asked = 0, work, done = 0;
};
