// Asks for what the next operations read, bit by bit, while this one computes.
#pragma once

#include "operation.hpp"

class Ahead {
 public:
  // Of each buffer a chunk asks for its share: of maps that is the part that this thread reads, and
  // of weights the rest comes from the other threads' requests. It falls into `count` pieces: more
  // requests at once than the processor can keep would hold the computation up.
  Ahead(const Operation& op, void* const* buffers, long chunk, long chunks, long count) : op(op) {
    long lines = 0;
    for (int i = 0; i < op.ahead_count; ++i) {
      const long all = op.ahead_bytes[i] / LINE;
      next[i] = (const char*)buffers[op.ahead[i]] + all * chunk / chunks * LINE;
      left[i] = all * (chunk + 1) / chunks - all * chunk / chunks;
      lines += left[i];
    }
    each = (lines + count - 1) / count;
  }

  // Ask for the next piece.
  void proceed() {
    for (long n = 0; n < each && buffer < op.ahead_count;) {
      if (left[buffer] == 0) {
        ++buffer;
        continue;
      }
      __builtin_prefetch(next[buffer], 0, 2);  // to be read, into the second cache
      next[buffer] += LINE, --left[buffer], ++n;
    }
  }

 private:
  static constexpr long LINE = 64;
  const Operation& op;
  const char* next[MOST_AHEAD];
  long left[MOST_AHEAD];
  int buffer = 0;
  long each;
};
