// Products of bfloat16 in the processor's matrix unit (AMX), where there is one.
#pragma once

#include "factor.hpp"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// (pixels, depth) times (depth, LANES channels), of 16 pixels or twice as many.
//
// Registers 0 and 1 hold sums, 2 and 3 readings, 4 weights: 16 pairs of each at a time. What is
// left of the depth has registers of its own, 5 to 7, for their sizes cannot change on the way.
class Tiles {
 public:
  static constexpr bool ARE_BUILT = true;
  static constexpr int ROWS = 16;

  // Whether the system lets this process use the unit. It does not while the stack for signals of
  // some thread is too small for what a signal then saves, and refuses such stacks afterwards.
  static bool are_there() {
    constexpr int ASK_FOR_FEATURE = 0x1023, TILE_DATA = 18;
    static const bool granted = syscall(SYS_arch_prctl, ASK_FOR_FEATURE, TILE_DATA) == 0;
    return granted;
  }

  // `steps`: the depth in pairs.
  explicit Tiles(long steps) : steps(steps), whole(steps / PAIRS) {
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } sizes;
    static_assert(sizeof sizes == 64);
    auto set = [&](int tile, int rows, int pairs) {
      sizes.rows[tile] = rows, sizes.row_bytes[tile] = pairs * 4;
    };
    for (int tile : {0, 1, 2, 3, 4}) set(tile, ROWS, PAIRS);
    if (const int rest = steps % PAIRS) set(5, ROWS, rest), set(6, ROWS, rest), set(7, rest, LANES);
    let_memory_settle();
    _tile_loadconfig(&sizes);
  }

  ~Tiles() { _tile_release(); }

  // Pixels lie below each other in `values`; sums of ROWS pixels, twice with BOTH, go to `sums`.
  template <bool BOTH>
  void multiply(const uint32_t* values, const Half* weights, float* sums) const {
    const long row_bytes = steps * 4;
    const uint32_t* below = values + ROWS * steps;
    let_memory_settle();
    _tile_zero(0);
    if (BOTH) _tile_zero(1);
    long k = 0;
    for (; k < whole * PAIRS; k += PAIRS) {
      _tile_loadd(4, weights + k * LANES * 2, 64);
      _tile_loadd(2, values + k, row_bytes);
      _tile_dpbf16ps(0, 2, 4);
      if (BOTH) _tile_loadd(3, below + k, row_bytes);
      if (BOTH) _tile_dpbf16ps(1, 3, 4);
    }
    if (k < steps) {
      _tile_loadd(7, weights + k * LANES * 2, 64);
      _tile_loadd(5, values + k, row_bytes);
      _tile_dpbf16ps(0, 5, 7);
      if (BOTH) _tile_loadd(6, below + k, row_bytes);
      if (BOTH) _tile_dpbf16ps(1, 6, 7);
    }
    _tile_stored(0, sums, 64);
    if (BOTH) _tile_stored(1, sums + ROWS * LANES, 64);
    let_memory_settle();
  }

 private:
  static constexpr long PAIRS = 16;
  const long steps, whole;

  // The compiler is not told what the tiles' instructions read and write.
  static void let_memory_settle() { asm volatile("" ::: "memory"); }
};
#else
// A processor without such a unit.
struct Tiles {
  static constexpr bool ARE_BUILT = false;
  static constexpr int ROWS = 1;
  static constexpr bool are_there() { return false; }
  explicit Tiles(long) {}
  template <bool BOTH, typename Taken, typename Kept>
  void multiply(const Taken*, const Kept*, float*) const {}
};
#endif
