// Prefetches memory a few cache lines at a time, spread over a computation.
#pragma once

#include <algorithm>

#include "operation.hpp"

constexpr long LINE = 64;  // bytes of a cache line

// Prefetches COLUMNS rows in parallel, spread over `work`.
template <int COLUMNS>
class Panel {
 public:
  // `stride`: bytes from one row to the next; `length`: bytes of each row.
  Panel(const void* from, long stride, long length, long work)
      : next((const char*)from), stride(stride), rate((length / LINE << SHIFT) / work) {}

  // Prefetch the share of lines that is due with the next `part` of the work.
  void proceed(long part) {
    done += part;
    for (const long due = done * rate >> SHIFT; issued < due; ++issued, next += LINE)
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; ++j) __builtin_prefetch(next + j * stride, 0, 2);
  }

 private:
  static constexpr long SHIFT = 20;
  const char* next;
  const long stride, rate;  // rate: lines for a unit of work, times 2^SHIFT
  long issued = 0, done = 0;
};

// Prefetches the buffers that the next operations read.
class Prefetch {
 public:
  // Each chunk prefetches its part of every buffer: of a large map, the part that this thread will
  // read. Prefetches are spread evenly over `work`, because the computation stalls when more are
  // outstanding than the processor can track.
  Prefetch(const Operation& op, void* const* buffers, long chunk, long chunks, long work) {
    long lines = 0;
    for (int i = 0; i < op.prefetch_count; ++i) {
      const long all = op.prefetch_bytes[i] / LINE;
      const char* const buffer = (const char*)buffers[op.prefetch[i]];
      spans[i] = {buffer + all * chunk / chunks * LINE, buffer + all * (chunk + 1) / chunks * LINE};
      lines += (spans[i].end - spans[i].next) / LINE;
    }
    rate = work > 0 ? (lines << SHIFT) / work : 0;
  }

  // Prefetch the share of lines that is due with the next `part` of the work.
  void proceed(long part) {
    done += part;
    const long due = done * rate >> SHIFT;
    while (issued < due) {
      while (span->next == span->end) ++span;
      const char* next = span->next;
      const char* const end = std::min(span->end, next + (due - issued) * LINE);
      issued += (end - next) / LINE;
      for (; next < end; next += LINE) __builtin_prefetch(next, 0, 2);  // into L2
      span->next = end;
    }
  }

 private:
  static constexpr long SHIFT = 20;
  struct Span {
    const char *next, *end;
  };
  Span spans[MOST_PREFETCHES];
  Span* span = spans;
  long rate, issued = 0, done = 0;  // rate: lines for a unit of work, times 2^SHIFT
};
