// Memory that a thread lays readings side by side in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

class Scratch {
 public:
  // At least `size` bytes that begin with a line of the cache; what lay there before is lost.
  void* take(size_t size) {
    if (memory.size() < size + LINE) memory.resize(size + LINE);
    return (void*)(((uintptr_t)memory.data() + LINE - 1) / LINE * LINE);
  }

 private:
  static constexpr size_t LINE = 64;
  std::vector<char> memory;
};
