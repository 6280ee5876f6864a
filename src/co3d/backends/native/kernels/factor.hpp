// What products multiply: floats, or pairs of bfloat16 where the machine multiplies those.
#pragma once

#include <type_traits>

#include "vectors.hpp"

// Floats, of maps that are kept as T.
template <typename T>
struct Floats {
  using Kept = float;    // as weights are kept
  using Taken = float;   // as a product takes one reading for all lanes
  using Lanes = Vector;  // as it takes a reading for each lane
  static constexpr int DEPTH = 1;

  static void multiply_add(Vector& sum, Taken value, const Kept* weights) {
    sum += value * load(weights);
  }
  static void multiply_add(Vector& sum, Lanes value, Lanes weights) { sum += value * weights; }
  static Lanes load_weights(const Kept* from) { return load(from); }
  static Lanes one() { return spread(1.0f); }

  // LANES * DEPTH numbers that lie side by side.
  static Lanes read(const T* from) { return load(from); }
  static void write(T* to, Lanes value) { store(to, value); }

  // The readings of DEPTH maps at one place.
  static Lanes join(const T* first, const T*) { return load(first); }
  static Lanes join_some(const T* first, const T*, int count) { return load_some(first, count); }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Kept = Half;
  typedef uint32_t __attribute__((may_alias)) Taken;  // reads what was written as Half
  using Lanes = __m512i;
  static constexpr int DEPTH = 2;

  static void multiply_add(Vector& sum, Taken pair, const Kept* weights) {
    multiply_add(sum, _mm512_set1_epi32(pair), load_weights(weights));
  }
  static void multiply_add(Vector& sum, Lanes pairs, Lanes weights) {
    sum = (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pairs, (__m512bh)weights);
  }
  static Lanes load_weights(const Kept* from) { return _mm512_loadu_si512(from); }
  static Lanes one() { return _mm512_set1_epi16(0x3f80); }

  static Lanes read(const Half* from) { return _mm512_loadu_si512(from); }
  static void write(Half* to, Lanes value) { _mm512_storeu_si512(to, value); }

  // Pairs of the two maps' numbers; of a number and zero where there is no second map.
  static Lanes join(const Half* first, const Half* second) {
    __m512i pairs = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)first));
    if (!second) return pairs;
    __m512i upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)second));
    return _mm512_or_si512(pairs, _mm512_slli_epi32(upper, 16));
  }
  static Lanes join_some(const Half* first, const Half* second, int count) {
    Half both[2][LANES] = {};
    memcpy(both[0], first, count * sizeof(Half));
    if (second) memcpy(both[1], second, count * sizeof(Half));
    return join(both[0], both[1]);
  }
};

template <typename T>
using DenseFactor = std::conditional_t<std::is_same_v<T, Half>, Pairs, Floats<T>>;
#else
template <typename T>
using DenseFactor = Floats<T>;
#endif

// Processors with a matrix unit have it for pairs: in the time that their vectors take for one
// product of pairs they make four of floats.
#if defined(__AMX_BF16__)
template <typename T>
using DepthwiseFactor = Floats<T>;
#else
template <typename T>
using DepthwiseFactor = DenseFactor<T>;
#endif
