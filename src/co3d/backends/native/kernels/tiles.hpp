// Products of bfloat16 in AMX's tile registers, on processors that have them.
#pragma once

#include "factor.hpp"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// Multiplies (pixels, depth) by (depth, LANES channels), for 16 or 32 pixels.
//
// Registers 0 and 1 hold sums, 2 and 3 inputs, 4 weights; inputs and weights take 16 pairs of depth
// at a time. Registers 5 to 7 hold the remainder of the depth, because the shape of a tile register
// cannot be changed during the product.
class Tiles {
 public:
  static constexpr bool ARE_BUILT = true;
  static constexpr int ROWS = 16;

  // Whether Linux lets this process use AMX. It refuses while a thread's alternate signal stack is
  // too small to save the tile registers, and refuses such stacks once AMX is granted.
  static bool are_available() {
    constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
    static const bool granted =
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
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
    compiler_barrier();
    _tile_loadconfig(&sizes);
  }

  ~Tiles() { _tile_release(); }

  // `values`: (pixels, steps) pairs; `sums`: (ROWS, or 2 * ROWS with BOTH, LANES).
  template <bool BOTH>
  void multiply(const uint32_t* values, const BFloat16* weights, float* sums) const {
    const long row_bytes = steps * 4;
    const uint32_t* below = values + ROWS * steps;
    compiler_barrier();
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
    compiler_barrier();
  }

 private:
  static constexpr long PAIRS = 16;
  const long steps, whole;

  // The intrinsics do not tell the compiler which memory they read and write.
  static void compiler_barrier() { asm volatile("" ::: "memory"); }
};
#else
// A processor without AMX.
struct Tiles {
  static constexpr bool ARE_BUILT = false;
  static constexpr int ROWS = 1;
  static constexpr bool are_available() { return false; }
  explicit Tiles(long) {}
  template <bool BOTH, typename Operand, typename Scalar>
  void multiply(const Operand*, const Scalar*, float*) const {}
};
#endif
