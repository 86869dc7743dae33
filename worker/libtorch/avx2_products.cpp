// Products of float32 matrices by AVX2, which has sixteen registers: twelve hold 6 x 16 of the result, two hold the
// columns' numbers of a term, and one holds a row's number.
//
// Operands are packed first, in panels of 48 rows of the left one and 48 columns of the right one. A panel has 8
// strips of 6 rows, or 3 of 16 columns; a strip is stored term by term.
//
// A core with two multiplying units takes six cycles for twelve products, and eight loads: two of columns and six of
// rows. A strip of columns stays at least in the second-level cache while it is multiplied by all strips of a tile's
// rows. Data that comes next from further away is prefetched (Goto and van de Geijn, 2008; Van Zee and van de Geijn,
// 2015).
//
// Compiled for such processors alone; the caller has checked for them.

#include <stdint.h>

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")

namespace {

constexpr int64_t kRows = 6, kColumns = 16, kPanel = 48;
// Number of terms that are summed before the sum is added to the result: a sum of many small sums is more exact than
// one of all terms in a row.
constexpr int64_t kSummed = 256;

#define ALWAYS_INLINE __attribute__((always_inline)) inline

// Fetches a line of the cache, into the first level or the second. Always inlined: GCC takes a function that only
// fetches for one that does nothing, and removes calls of it.
ALWAYS_INLINE void fetch(const float* line) { _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T0); }
ALWAYS_INLINE void fetch_to_second(const float* line) { _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1); }

// Copies 6 or 16 numbers.
template <int64_t count>
inline void copy(float* to, const float* from) {
  memcpy(to, from, count * sizeof(float));
}

// Returns the first `count` of eight numbers, followed by zeros.
inline __m256 load(const float* from, int64_t count) {
  if (count >= 8) return _mm256_loadu_ps(from);
  const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), places));
}

// Stores eight numbers, or the first six. Does not use a mask, which is slow here on some processors.
template <int64_t count>
inline void store(float* to, __m256 numbers) {
  if constexpr (count == 8) {
    _mm256_storeu_ps(to, numbers);
  } else {
    static_assert(count == 6);
    _mm_storeu_ps(to, _mm256_castps256_ps128(numbers));
    _mm_storel_pi(reinterpret_cast<__m64*>(to + 4), _mm256_extractf128_ps(numbers, 1));
  }
}

// Packs a panel where the numbers of a term are adjacent and terms are `stride` apart: strips of `width`. The lines
// of one term are asked for at once; those of later terms would push each other out of the first-level cache if
// `stride` is a multiple of the size of its ways.
template <int64_t width>
inline void pack_side_by_side(float* to, const float* from, int64_t stride, int64_t lanes, int64_t terms) {
  constexpr int64_t kLine = 16;
  alignas(64) float edge[kPanel] = {};
  const int64_t strips = (lanes + width - 1) / width;
  for (int64_t term = 0; term < terms; term++, from += stride) {
    for (int64_t i = 0; i < kPanel; i += kLine) fetch(from + i);
    const float* numbers = from;
    if (lanes < kPanel) {
      memcpy(edge, from, lanes * sizeof(float));
      numbers = edge;
    }
    for (int64_t strip = 0; strip < strips; strip++)
      copy<width>(to + (strip * terms + term) * width, numbers + strip * width);
  }
}

// Transposes 8 by 8 numbers.
inline void transpose(__m256 (&r)[8]) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
  for (int i = 0; i < 8; i++) r[i] = t[i];
}

// Packs a strip where the terms of a lane are adjacent and lanes are `stride` apart. Prefetches the next strip's.
template <int64_t width>
inline void pack_strip_one_by_one(float* to, const float* from, int64_t stride, int64_t lanes, int64_t terms) {
  // Number of lanes that are transposed at once.
  constexpr int64_t kLanes = width < 8 ? width : 8;
  for (int64_t term = 0; term < terms; term += 8) {
    const int64_t count = terms - term < 8 ? terms - term : 8;
    for (int64_t first = 0; first < width; first += kLanes) {
      __m256 numbers[8] = {};
#pragma GCC unroll 8
      for (int64_t i = 0; i < kLanes; i++) {
        const float* place = from + (first + i) * stride + term;
        if (first + i < lanes) numbers[i] = load(place, count);
        fetch_to_second(place + width * stride);
      }
      transpose(numbers);
      float* stored = to + term * width + first;
#pragma GCC unroll 8
      for (int64_t i = 0; i < 8; i++)
        if (i < count) store<kLanes>(stored + i * width, numbers[i]);
    }
  }
}

template <int64_t width>
inline void pack(float* to, const float* from, int64_t lane_stride, int64_t term_stride, int64_t lanes, int64_t terms) {
  if (lane_stride == 1) return pack_side_by_side<width>(to, from, term_stride, lanes, terms);
  for (int64_t lane = 0; lane < lanes; lane += width)
    pack_strip_one_by_one<width>(to + lane * terms, from + lane * lane_stride, lane_stride, lanes - lane, terms);
}

// Adds the product of one term of a strip of rows and one of columns to `sums`.
inline void add_term(__m256 (&sums)[kRows][2], const float* a, const float* b) {
  const __m256 columns[2] = {_mm256_load_ps(b), _mm256_load_ps(b + 8)};
#pragma GCC unroll 6
  for (int64_t row = 0; row < kRows; row++) {
    const __m256 number = _mm256_broadcast_ss(a + row);
    sums[row][0] = _mm256_fmadd_ps(number, columns[0], sums[row][0]);
    sums[row][1] = _mm256_fmadd_ps(number, columns[1], sums[row][1]);
  }
}

// Adds `sums` to 6 x 16 of the result, with rows `stride` apart, or stores them there.
inline void take(float* out, int64_t stride, const __m256 (&sums)[kRows][2], bool add) {
#pragma GCC unroll 6
  for (int64_t row = 0; row < kRows; row++) {
    float* place = out + row * stride;
    for (int64_t half = 0; half < 2; half++, place += 8)
      _mm256_storeu_ps(place, add ? _mm256_add_ps(_mm256_loadu_ps(place), sums[row][half]) : sums[row][half]);
  }
}

// Multiplies a strip of rows by one of columns: 6 x 16 of the result, with rows `stride` apart. Meanwhile, memory
// from `next` on is fetched into the second-level cache, by a step of `pace` numbers for each 8 terms.
ALWAYS_INLINE void multiply_strips(float* out, int64_t stride, const float* a, const float* b, int64_t terms, bool add,
                                   const float* next, int64_t pace) {
  for (int64_t row = 0; row < kRows; row++) {
    fetch(out + row * stride);
    fetch(out + row * stride + kColumns - 1);
  }
  for (int64_t last; terms > 0; terms -= last, add = true) {
    last = terms < kSummed ? terms : kSummed;
    __m256 sums[kRows][2] = {};
    int64_t term = 0;
    for (; term + 8 <= last; term += 8, a += 8 * kRows, b += 8 * kColumns, next += pace) {
      fetch_to_second(next);
#pragma GCC unroll 8
      for (int64_t i = 0; i < 8; i++) add_term(sums, a + i * kRows, b + i * kColumns);
    }
    for (; term < last; term++, a += kRows, b += kColumns) add_term(sums, a, b);
    take(out, stride, sums, add);
  }
}

}  // namespace

// Packs a panel: `lanes` rows of the left operand, or columns of the right one (`right`), of `terms` terms. One stride is 1.
extern "C" void convoy_cpu_avx2_pack(float* to, const float* from, int64_t lane_stride, int64_t term_stride, int64_t lanes,
                                     int64_t terms, bool right) {
  if (right) pack<kColumns>(to, from, lane_stride, term_stride, lanes, terms);
  else pack<kRows>(to, from, lane_stride, term_stride, lanes, terms);
}

// Sets `out` [rows, columns], with rows `stride` apart, to the product of packed panels of `terms` terms, plus its
// present values if `add`.
extern "C" void convoy_cpu_avx2_multiply(float* out, int64_t stride, int64_t rows, int64_t columns, const float* a, const float* b,
                                         int64_t terms, bool add) {
  // The next strip of columns is fetched in about equal shares, one for each strip of rows.
  const int64_t strips = (rows + kRows - 1) / kRows, share = (terms + strips - 1) / strips * kColumns;
  const int64_t pace = terms < 8 ? 0 : (share + terms / 8 - 1) / (terms / 8);
  for (int64_t column = 0; column < columns; column += kColumns, b += terms * kColumns) {
    const float *strip = a, *next = b + terms * kColumns;
    for (int64_t row = 0; row < rows; row += kRows, strip += terms * kRows, next += share) {
      float* place = out + row * stride + column;
      const int64_t height = rows - row, width = columns - column;
      if (height >= kRows && width >= kColumns) {
        multiply_strips(place, stride, strip, b, terms, add, next, pace);
        continue;
      }
      // At an edge, the strip is larger than the rest of the result.
      alignas(32) float edge[kRows * kColumns] = {};
      const int64_t rest = height < kRows ? height : kRows, bytes = 4 * (width < kColumns ? width : kColumns);
      for (int64_t i = 0; add && i < rest; i++) memcpy(edge + i * kColumns, place + i * stride, bytes);
      multiply_strips(edge, kColumns, strip, b, terms, add, next, pace);
      for (int64_t i = 0; i < rest; i++) memcpy(place + i * stride, edge + i * kColumns, bytes);
    }
  }
}

#pragma GCC pop_options

#else

extern "C" void convoy_cpu_avx2_pack(float*, const float*, int64_t, int64_t, int64_t, int64_t, bool) {}
extern "C" void convoy_cpu_avx2_multiply(float*, int64_t, int64_t, int64_t, const float*, const float*, int64_t, bool) {}

#endif
