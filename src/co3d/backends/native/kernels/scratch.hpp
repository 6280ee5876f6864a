// A thread's temporary memory, in which it gathers inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

// memcpy that is inlined for 16 to 64 bytes, the size of a kernel's row in the first layer.
inline void copy(void* to, const void* from, size_t size) {
  if (size < 16 || size > 64) {
    memcpy(to, from, size);
    return;
  }
  // Two pieces that may overlap.
  const size_t piece = size <= 32 ? 16 : 32;
  char* const last_to = (char*)to + size - piece;
  const char* const last_from = (const char*)from + size - piece;
  if (piece == 16) {
    memcpy(to, from, 16), memcpy(last_to, last_from, 16);
  } else {
    memcpy(to, from, 32), memcpy(last_to, last_from, 32);
  }
}

class Scratch {
 public:
  // At least `size` bytes, aligned to a cache line; they invalidate what was taken before.
  void* take(size_t size) {
    if (memory.size() < size + LINE) memory.resize(size + LINE);
    return (void*)(((uintptr_t)memory.data() + LINE - 1) / LINE * LINE);
  }

 private:
  static constexpr size_t LINE = 64;
  std::vector<char> memory;
};
