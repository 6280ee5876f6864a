// Scales, crops and normalises 8-bit pictures into NCHW float32 frames, in one pass.
#pragma once

#include <algorithm>

#include "scratch.hpp"
#include "vectors.hpp"

// How one axis of a picture is scaled: each output pixel is a weighted sum of `taps` input pixels,
// the first of which is `first`. Weights are integers in units of 1 / 2^bits, as in PyTorch and
// Pillow, so that sums do not depend on their order.
struct Scaling {
  const int32_t* first;
  const int16_t* weights;  // (count, taps); the last ones of a pixel may be zero
  int32_t count, taps, bits;
};

constexpr int COLOURS = 3, TAPS_AT_ONCE = 4, TAP_BYTES = 16;

inline uint8_t round_sum(int32_t sum, int bits) {
  return std::clamp((sum + (1 << (bits - 1))) >> bits, 0, 255);
}

#if defined(__AVX2__)
// The rounded weighted sum of the pixels RGBRGB… from `from` on: three bytes, and an unused one.
inline int32_t sum_pixels(const uint8_t* from, const int16_t* weights, int taps, int bits) {
  // Four pixels at once, two in each half of the register. They are shuffled to pairs of one
  // colour, because one instruction (madd) multiplies a pair by two weights and adds.
  const __m256i pairs =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                       6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  __m256i sums = _mm256_setzero_si256();
  for (int tap = 0; tap < taps; tap += TAPS_AT_ONCE, from += TAPS_AT_ONCE * COLOURS) {
    const __m256i pixels = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)from));
    const __m256i factors = _mm256_permutevar8x32_epi32(
        _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i*)(weights + tap))), halves);
    const __m256i products = _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, pairs), factors);
    sums = _mm256_add_epi32(sums, products);
  }
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  sum = _mm_add_epi32(sum, _mm_set1_epi32(1 << (bits - 1)));
  sum = _mm_sra_epi32(sum, _mm_cvtsi32_si128(bits));
  return _mm_cvtsi128_si32(_mm_packus_epi16(_mm_packs_epi32(sum, sum), sum));
}
#else
inline int32_t sum_pixels(const uint8_t* from, const int16_t* weights, int taps, int bits) {
  int32_t sums[COLOURS] = {};
  for (int tap = 0; tap < taps; ++tap, from += COLOURS)
    for (int c = 0; c < COLOURS; ++c) sums[c] += weights[tap] * from[c];
  uint8_t made[TAPS_AT_ONCE] = {};
  for (int c = 0; c < COLOURS; ++c) made[c] = round_sum(sums[c], bits);
  int32_t pixel;
  memcpy(&pixel, made, sizeof pixel);
  return pixel;
}
#endif

// Scale one row of pixels. It reads up to 4 bytes and writes 1 byte beyond the last pixel.
inline void scale_row(const uint8_t* row, const Scaling& columns, uint8_t* to) {
  const int taps = columns.taps, bits = columns.bits, count = columns.count;
  const int16_t* weights = columns.weights;
  const int32_t* first = columns.first;
  for (int x = 0; x < count; ++x, weights += taps, to += COLOURS) {
    const int32_t pixel = sum_pixels(row + first[x] * COLOURS, weights, taps, bits);
    memcpy(to, &pixel, sizeof pixel);
  }
}

// The rounded weighted sum of consecutive rows of `size` bytes each.
inline void sum_rows(const uint8_t* from, const int16_t* weights, int taps, int bits, long size,
                     uint8_t* __restrict to) {
  constexpr long BLOCK = 64;
  for (long begin = 0; begin < size; begin += BLOCK) {  // rows are padded to whole blocks
    int32_t sums[BLOCK] = {};
    for (int tap = 0; tap < taps; ++tap)
      for (long i = 0; i < BLOCK; ++i) sums[i] += weights[tap] * from[tap * size + begin + i];
    for (long i = 0; i < BLOCK; ++i) to[begin + i] = round_sum(sums[i], bits);
  }
}

// A picture, whose rows begin `row_bytes` apart, and how it is scaled.
struct Picture {
  const uint8_t* pixels;
  int64_t width, height, row_bytes;
  const Scaling* columns;
  const Scaling* rows;
};

// Scale, crop and normalise a picture to a frame in NCHW. The width is scaled first, then the
// height; both results are rounded to 8 bits. `table` (3, 256) maps them to floats.
inline void prepare_picture(const Picture& picture, const float* table, float* frame,
                            Scratch& scratch) {
  const Scaling &columns = *picture.columns, &rows = *picture.rows;
  const long begin = *std::min_element(rows.first, rows.first + rows.count);
  const long end = *std::max_element(rows.first, rows.first + rows.count) + rows.taps;
  const long size = (long(columns.count) * COLOURS + 64) / 64 * 64, length = picture.width * COLOURS;
  uint8_t* const scaled = (uint8_t*)scratch.take(size * (end - begin + 1) + length + TAP_BYTES);
  uint8_t* const pixels = scaled + size * (end - begin);
  uint8_t* const last = pixels + size;
  for (long y = begin; y < end; ++y) {
    const uint8_t* row = picture.pixels + y * picture.row_bytes;
    // The last row is copied to padded memory, because `scale_row` reads beyond its end.
    if (y == picture.height - 1) row = (uint8_t*)memcpy(last, row, length);
    scale_row(row, columns, scaled + (y - begin) * size);
  }
  const long area = long(rows.count) * columns.count;
  for (int y = 0; y < rows.count; ++y, frame += columns.count) {
    const uint8_t* const from = scaled + (rows.first[y] - begin) * size;
    sum_rows(from, rows.weights + long(y) * rows.taps, rows.taps, rows.bits, size, pixels);
    for (long x = 0; x < columns.count; ++x)
      for (int c = 0; c < COLOURS; ++c)
        frame[c * area + x] = table[c * 256 + pixels[x * COLOURS + c]];
  }
}
