// The operands of multiply-add: floats, or pairs of bfloat16 where the processor multiplies those.
#pragma once

#include <type_traits>

#include "vectors.hpp"

// Float operands, for maps stored as T.
template <typename T>
struct Floats {
  using Scalar = float;    // the type of stored weights
  using Operand = float;   // one input, which is broadcast to all lanes
  using Lanes = Vector;  // a different input in each lane
  static constexpr int DEPTH = 1;

  static void multiply_add(Vector& sum, Operand value, const Scalar* weights) {
    sum += value * load(weights);
  }
  static void multiply_add(Vector& sum, Lanes value, Lanes weights) { sum += value * weights; }
  static Lanes load_weights(const Scalar* from) { return load(from); }
  static Lanes one() { return broadcast(1.0f); }

  // LANES * DEPTH contiguous numbers.
  static Lanes read(const T* from) { return load(from); }
  static void write(T* to, Lanes value) { store(to, value); }

  // The inputs of DEPTH maps at one pixel.
  static Lanes join(const T* first, const T*) { return load(first); }
  static Lanes join_some(const T* first, const T*, int count) { return load_some(first, count); }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Scalar = BFloat16;
  typedef uint32_t __attribute__((may_alias)) Operand;  // may_alias: memory was written as BFloat16
  using Lanes = __m512i;
  static constexpr int DEPTH = 2;

  static void multiply_add(Vector& sum, Operand pair, const Scalar* weights) {
    multiply_add(sum, _mm512_set1_epi32(pair), load_weights(weights));
  }
  static void multiply_add(Vector& sum, Lanes pairs, Lanes weights) {
    sum = (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pairs, (__m512bh)weights);
  }
  static Lanes load_weights(const Scalar* from) { return _mm512_loadu_si512(from); }
  static Lanes one() { return _mm512_set1_epi16(0x3f80); }

  static Lanes read(const BFloat16* from) { return _mm512_loadu_si512(from); }
  static void write(BFloat16* to, Lanes value) { _mm512_storeu_si512(to, value); }

  // Pairs of the two maps' numbers; zero is the second one where there is no second map.
  static Lanes join(const BFloat16* first, const BFloat16* second) {
    __m512i pairs = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)first));
    if (!second) return pairs;
    __m512i upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)second));
    return _mm512_or_si512(pairs, _mm512_slli_epi32(upper, 16));
  }
  static Lanes join_some(const BFloat16* first, const BFloat16* second, int count) {
    BFloat16 both[2][LANES] = {};
    memcpy(both[0], first, count * sizeof(BFloat16));
    if (second) memcpy(both[1], second, count * sizeof(BFloat16));
    return join(both[0], both[1]);
  }
};

template <typename T>
using DenseFactor = std::conditional_t<std::is_same_v<T, BFloat16>, Pairs, Floats<T>>;
#else
template <typename T>
using DenseFactor = Floats<T>;
#endif

// On processors with AMX the vector instruction for bfloat16 pairs is slow: it takes as long as
// four float32 multiply-adds, which compute twice as much. Depthwise convolutions, which AMX cannot
// compute, therefore multiply float32 there.
#if defined(__AMX_BF16__)
template <typename T>
using DepthwiseFactor = Floats<T>;
#else
template <typename T>
using DepthwiseFactor = DenseFactor<T>;
#endif
