// SIMD vectors of floats, and conversion between float32 and bfloat16 in memory.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

// Whether there are 32 vector registers, so that larger tiles of sums fit, or only 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;
#else
constexpr bool MANY_REGISTERS = false;
#endif

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t Words16 __attribute__((vector_size(LANES * 2)));

// A bfloat16: the upper half of a float.
struct BFloat16 {
  uint16_t bits;
};

inline Vector broadcast(float value) { return Vector{} + value; }

inline Vector load(const float* from) {
  Vector made;
  memcpy(&made, from, sizeof made);
  return made;
}

inline Vector load(const BFloat16* from) {
  Words16 bits;
  memcpy(&bits, from, sizeof bits);
  return (Vector)(__builtin_convertvector(bits, Words) << 16);
}

inline void store(float* to, Vector value) { memcpy(to, &value, sizeof value); }

inline void store(BFloat16* to, Vector value) {
#if defined(__AVX512BF16__)
  __m256bh made = _mm512_cvtneps_pbh((__m512)value);
#else
  Words bits = (Words)value;
  // Round to nearest, ties to even; a NaN must not be rounded to infinity.
  Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Words kept = (bits >> 16) | 0x40;
  Words16 made = __builtin_convertvector(value == value ? rounded : kept, Words16);
#endif
  memcpy(to, &made, sizeof made);
}

// The first `count` lanes; for maps of fewer channels than a vector has lanes.
#if defined(__AVX512BW__) && defined(__AVX512VL__)
// Masked instructions, because a call of memcpy would spill the caller's sums from registers.
inline uint32_t first_lanes(int count) { return (1u << count) - 1; }

inline Vector load_some(const float* from, int count) {
  return (Vector)_mm512_maskz_loadu_ps(first_lanes(count), from);
}

inline Vector load_some(const BFloat16* from, int count) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(count), from);
  return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
}

inline void store_some(float* to, Vector value, int count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), (__m512)value);
}

inline void store_some(BFloat16* to, Vector value, int count) {
  __m256i bits;
  store((BFloat16*)&bits, value);
  _mm256_mask_storeu_epi16(to, first_lanes(count), bits);
}
#else
template <typename T>
inline Vector load_some(const T* from, int count) {
  T buffer[LANES] = {};
  memcpy(buffer, from, count * sizeof(T));
  return load(buffer);
}

template <typename T>
inline void store_some(T* to, Vector value, int count) {
  T buffer[LANES];
  store(buffer, value);
  memcpy(to, buffer, count * sizeof(T));
}
#endif

// The number of vectors that cover `channels`, and where the i-th begins. The last one overlaps the
// one before it, so that it ends with the channels; equal results are then written twice.
inline int count_vectors(int channels) { return (channels + LANES - 1) / LANES; }

inline int vector_start(int i, int channels) {
  int start = i * LANES;
  return start + LANES <= channels || channels < LANES ? start : channels - LANES;
}

#if defined(__AVX512F__)
// These return NaN for NaN, as those below do.
inline Vector clamp_max(Vector x, float bound) { return (Vector)_mm512_min_ps((__m512)broadcast(bound), (__m512)x); }
inline Vector clamp_min(Vector x, float bound) { return (Vector)_mm512_max_ps((__m512)broadcast(bound), (__m512)x); }
inline Vector round_to_integer(Vector x) { return (Vector)_mm512_roundscale_ps((__m512)x, 0); }
inline Vector times_power_of_two(Vector x, Vector n) { return (Vector)_mm512_scalef_ps((__m512)x, (__m512)n); }

// A 14-bit estimate; for floats, refined by one step of Newton's method.
template <typename T>
inline Vector reciprocal(Vector x) {
  Vector y = (Vector)_mm512_rcp14_ps((__m512)x);
  return sizeof(T) == sizeof(float) ? y * (2.0f - x * y) : y;
}
#else
inline Vector clamp_max(Vector x, float bound) { return x > bound ? broadcast(bound) : x; }
inline Vector clamp_min(Vector x, float bound) { return x < bound ? broadcast(bound) : x; }
inline Vector round_to_integer(Vector x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23
inline Vector times_power_of_two(Vector x, Vector n) {
  return x * (Vector)((__builtin_convertvector(n, Integers) + 127) << 23);
}
template <typename T>
inline Vector reciprocal(Vector x) {
  return 1.0f / x;
}
#endif

// 2^x as 2^n times a polynomial on [-1/2, 1/2]. T is the maps' type: the relative error is 8e-8 for
// float and 3e-6 for bfloat16.
template <typename T>
inline Vector power_of_two(Vector x) {
  x = clamp_min(clamp_max(x, 120.0f), -120.0f);
  const Vector n = round_to_integer(x), r = x - n;
  Vector p;
  if constexpr (sizeof(T) == sizeof(float)) {
    p = 1.327647042e-3f * r + 9.675541618e-3f;
    p = p * r + 5.550713281e-2f;
    p = p * r + 2.402211972e-1f;
    p = p * r + 6.931469671e-1f;
    p = p * r + 1.000000072f;
  } else {
    p = 9.570100328e-3f * r + 5.591786277e-2f;
    p = p * r + 2.402474489e-1f;
    p = p * r + 6.931218144e-1f;
    p = p * r + 9.999992614e-1f;
  }
  return times_power_of_two(p, n);
}

// T, the maps' type, decides the precision.
template <typename T>
inline Vector sigmoid(Vector x) {
  return reciprocal<T>(1.0f + power_of_two<T>(x * -1.44269504f));
}

enum Activation : int32_t { IDENTITY, RELU, SILU, SIGMOID };

template <typename T>
inline Vector activate(Vector x, int32_t activation) {
  switch (activation) {
    case RELU:
      return clamp_min(x, 0.0f);
    case SILU:
      return x * sigmoid<T>(x);
    case SIGMOID:
      return sigmoid<T>(x);
    default:
      return x;
  }
}
