// Vectors of as many floats as a register of this machine holds, and how numbers are kept in memory.
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

// With 32 registers more sums fit in than with 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;
#else
constexpr bool MANY_REGISTERS = false;
#endif

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t HalfWords __attribute__((vector_size(LANES * 2)));

// A bfloat16: the upper half of a float.
struct Half {
  uint16_t bits;
};

inline Vector spread(float value) { return Vector{} + value; }

inline Vector load(const float* from) {
  Vector made;
  memcpy(&made, from, sizeof made);
  return made;
}

inline Vector load(const Half* from) {
  HalfWords bits;
  memcpy(&bits, from, sizeof bits);
  return (Vector)(__builtin_convertvector(bits, Words) << 16);
}

inline void store(float* to, Vector value) { memcpy(to, &value, sizeof value); }

inline void store(Half* to, Vector value) {
#if defined(__AVX512BF16__)
  __m256bh made = _mm512_cvtneps_pbh((__m512)value);
#else
  Words bits = (Words)value;
  // To the nearest, ties to even; a NaN must not be rounded into an infinity.
  Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Words kept = (bits >> 16) | 0x40;
  HalfWords made = __builtin_convertvector(value == value ? rounded : kept, HalfWords);
#endif
  memcpy(to, &made, sizeof made);
}

// The first `count` lanes; for maps of fewer channels than a vector has lanes.
#if defined(__AVX512BW__) && defined(__AVX512VL__)
// By masks: a call of memcpy would drive a caller's sums out of the registers.
inline uint32_t first_lanes(int count) { return (1u << count) - 1; }

inline Vector load_some(const float* from, int count) {
  return (Vector)_mm512_maskz_loadu_ps(first_lanes(count), from);
}

inline Vector load_some(const Half* from, int count) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(count), from);
  return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
}

inline void store_some(float* to, Vector value, int count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), (__m512)value);
}

inline void store_some(Half* to, Vector value, int count) {
  __m256i bits;
  store((Half*)&bits, value);
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

// How many vectors cover `channels`, and where the i-th begins. The last one overlaps the one
// before it instead of running over the end, so results may be written twice, with equal values.
inline int count_vectors(int channels) { return (channels + LANES - 1) / LANES; }

inline int vector_start(int i, int channels) {
  int start = i * LANES;
  return start + LANES <= channels || channels < LANES ? start : channels - LANES;
}

#if defined(__AVX512F__)
// With a NaN these give the NaN, as comparisons below do.
inline Vector at_most(Vector x, float bound) { return (Vector)_mm512_min_ps((__m512)spread(bound), (__m512)x); }
inline Vector at_least(Vector x, float bound) { return (Vector)_mm512_max_ps((__m512)spread(bound), (__m512)x); }
inline Vector to_integer(Vector x) { return (Vector)_mm512_roundscale_ps((__m512)x, 0); }
inline Vector times_power_of_two(Vector x, Vector n) { return (Vector)_mm512_scalef_ps((__m512)x, (__m512)n); }

// An estimate of 14 bits, and for floats one step of Newton's method.
template <typename T>
inline Vector reciprocal(Vector x) {
  Vector y = (Vector)_mm512_rcp14_ps((__m512)x);
  return sizeof(T) == sizeof(float) ? y * (2.0f - x * y) : y;
}
#else
inline Vector at_most(Vector x, float bound) { return x > bound ? spread(bound) : x; }
inline Vector at_least(Vector x, float bound) { return x < bound ? spread(bound) : x; }
inline Vector to_integer(Vector x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23
inline Vector times_power_of_two(Vector x, Vector n) {
  return x * (Vector)((__builtin_convertvector(n, Integers) + 127) << 23);
}
template <typename T>
inline Vector reciprocal(Vector x) {
  return 1.0f / x;
}
#endif

// 2^x by 2^n times a polynomial on [-1/2, 1/2], whose relative error is 8e-8 for floats and 3e-6
// for what is kept as bfloat16.
template <typename T>
inline Vector power_of_two(Vector x) {
  x = at_least(at_most(x, 120.0f), -120.0f);
  const Vector n = to_integer(x), r = x - n;
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

// T is what maps are kept as, and so how exact this has to be.
template <typename T>
inline Vector sigmoid(Vector x) {
  return reciprocal<T>(1.0f + power_of_two<T>(x * -1.44269504f));
}

enum Activation : int32_t { IDENTITY, RELU, SILU, SIGMOID };

template <typename T>
inline Vector activate(Vector x, int32_t activation) {
  switch (activation) {
    case RELU:
      return at_least(x, 0.0f);
    case SILU:
      return x * sigmoid<T>(x);
    case SIGMOID:
      return sigmoid<T>(x);
    default:
      return x;
  }
}
