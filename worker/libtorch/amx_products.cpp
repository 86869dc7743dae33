// Products of float32 matrices by the matrix units of Intel's processors (AMX), which multiply bfloat16 and sum in float32.
//
// A float32 number is the sum of three of bfloat16, with eight of its 24 bits in each. Of the nine products of two
// numbers' parts, the six that matter to float32 are computed; the others are less than 2^-23 of the whole (Henry,
// Tang and Heinecke, 2019). Infinities, and numbers within 2^-9 of them, become NaN. The units take numbers below
// 2^-126 as zeros, so numbers below 2^-103 lose bits.
//
// Operands are packed first, in panels of 32 rows of the left one and 32 columns of the right one. A panel is stored
// in steps of 32 terms. A step has, for each of the three parts, 16 rows or columns and the 16 others, as tiles of 1
// KiB that a register takes.
//
// Only code that runs after the check of the processor is compiled for such processors.

#include <stdint.h>

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

// Returns whether the processor has matrix units that this process may use, after asking the system for them.
extern "C" bool convoy_cpu_amx_prepare() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool avx512 = (b >> 16 & 1) && (b >> 30 & 1), amx = (d >> 22 & 1) && (d >> 24 & 1);
  if (!avx512 || !amx) return false;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  // Registers of AVX-512, and tiles with their configuration.
  if ((low & 0x600e6) != 0x600e6) return false;
  constexpr long kRequestPermission = 0x1023, kTiles = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTiles) == 0;
}

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,amx-tile,amx-bf16")

namespace {

// Rows or columns in a tile, and in a panel; terms in a step.
constexpr int64_t kLanes = 16, kPanel = 32, kStep = 32;
// Words of 16 bits in a tile, and in a step of a panel.
constexpr int64_t kTile = kLanes * kStep, kStepWords = 6 * kTile;

struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The nearest bfloat16, as float32; halves are rounded away from zero. An infinity, or a number near one, leaves NaN
// as the rest.
inline __m512 rounded(__m512 x) {
  const __m512i half_more = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_castsi512_ps(_mm512_and_si512(half_more, _mm512_set1_epi32(0xffff0000)));
}

// Returns a part of `x`, which becomes the rest. The third part is all that is left: it needs no rounding, and NaN
// might not survive rounding.
inline __m512 take_part(__m512& x, int part) {
  const __m512 taken = part < 2 ? rounded(x) : x;
  x = _mm512_sub_ps(x, taken);
  return taken;
}

// Transposes 16 by 16 double words.
inline void transpose(uint16_t* tile) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(tile + 32 * i);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int half = 0; half < 16; half += 8) {
    for (int i = half; i < half + 4; i++) {
      t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
      t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    }
  }
  for (int i = 0; i < 8; i++) {
    _mm512_store_si512(tile + 32 * i, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_store_si512(tile + 32 * (i + 8), _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
  }
}

// A mask of the first n of 16.
inline __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1; }

// Splits `terms` terms of `lanes` rows or columns into parts, where the numbers of a term are adjacent and terms are
// `stride` apart: row i of a tile gets the terms 2 i and 2 i + 1 of each lane.
inline void split_side_by_side(uint16_t* to, const float* from, int64_t stride, int64_t lanes, int64_t terms) {
  const __mmask16 mask = first(lanes);
  for (int i = 0; i < 16; i++) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    if (2 * i < terms) even = _mm512_maskz_loadu_ps(mask, from + 2 * i * stride);
    if (2 * i + 1 < terms) odd = _mm512_maskz_loadu_ps(mask, from + (2 * i + 1) * stride);
    for (int part = 0; part < 3; part++) {
      const __m512i e = _mm512_castps_si512(take_part(even, part)), o = _mm512_castps_si512(take_part(odd, part));
      // The upper halves of the odd term stay in place, those of the even term move down.
      const __m512i words = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(e, 16), o);
      _mm512_store_si512(to + part * 2 * kTile + 32 * i, words);
    }
  }
}

// Splits terms where those of a lane are adjacent and lanes are `stride` apart: row i of a tile gets all terms of
// lane i.
inline void split_one_by_one(uint16_t* to, const float* from, int64_t stride, int64_t lanes, int64_t terms) {
  const __mmask16 masks[2] = {first(terms), first(terms - 16)};
  const __m512i odd_words = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
                                             23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  for (int i = 0; i < 16; i++) {
    __m512 low = _mm512_setzero_ps(), high = low;
    if (i < lanes) {
      low = _mm512_maskz_loadu_ps(masks[0], from + i * stride);
      high = _mm512_maskz_loadu_ps(masks[1], from + i * stride + 16);
    }
    for (int part = 0; part < 3; part++) {
      const __m512i l = _mm512_castps_si512(take_part(low, part)), h = _mm512_castps_si512(take_part(high, part));
      _mm512_store_si512(to + part * 2 * kTile + 32 * i, _mm512_permutex2var_epi16(l, odd_words, h));
    }
  }
}

// Loads the two tiles of a part into the registers of rows, or of columns.
inline void load_rows(const uint16_t* part) {
  _tile_loadd(4, part, 64);
  _tile_loadd(5, part + kTile, 64);
}

inline void load_columns(const uint16_t* part) {
  _tile_loadd(6, part, 64);
  _tile_loadd(7, part + kTile, 64);
}

// Fetches 8 lines of the cache.
inline void fetch(const uint16_t* lines) {
  for (int i = 0; i < 8; i++) _mm_prefetch(reinterpret_cast<const char*>(lines + 32 * i), _MM_HINT_T0);
}

// Multiplies the registers, while a part of the next step is fetched, which takes 32 lines.
inline void multiply_parts(const uint16_t* next) {
  _tile_dpbf16ps(0, 4, 6);
  fetch(next);
  _tile_dpbf16ps(1, 4, 7);
  fetch(next + kTile / 2);
  _tile_dpbf16ps(2, 5, 6);
  fetch(next + kTile);
  _tile_dpbf16ps(3, 5, 7);
  fetch(next + kTile + kTile / 2);
}

// Adds a step's products to the four tiles of the result, in an order in which each four need only one pair of
// registers loaded.
inline void add_step(const uint16_t* a, const uint16_t* b) {
  constexpr int64_t kSecond = 2 * kTile, kThird = 4 * kTile;
  const uint16_t *next_a = a + kStepWords, *next_b = b + kStepWords;
  load_rows(a);
  load_columns(b + kThird);
  multiply_parts(next_a);
  load_columns(b + kSecond);
  multiply_parts(next_b + kThird);
  load_rows(a + kSecond);
  multiply_parts(next_b + kSecond);
  load_columns(b);
  multiply_parts(next_a + kSecond);
  load_rows(a + kThird);
  multiply_parts(next_b);
  load_rows(a);
  multiply_parts(next_a + kThird);
}

// Memory that is read after a product of panels: a share of the next panel of rows, a number of cache lines of each
// of its steps, and the next 32 x 32 of the result, with rows `stride` apart. Both are far from the core.
struct Next {
  const uint16_t* rows;
  int64_t lines;
  const float* out;
  int64_t stride;
};

// Fetches a part of that memory, the panel into the second-level cache. Always inlined: GCC takes a function that
// only fetches for one that does nothing, and removes calls of it.
__attribute__((always_inline)) inline void fetch_next(const Next& next, int64_t step) {
  const uint16_t* line = next.rows + step * kStepWords;
  for (int64_t i = 0; i < next.lines; i++, line += 32) _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
  for (int64_t row = 2 * step; row < kPanel && row < 2 * step + 2; row++) {
    _mm_prefetch(reinterpret_cast<const char*>(next.out + row * next.stride), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(next.out + row * next.stride + kLanes), _MM_HINT_T0);
  }
}

// Multiplies a panel of rows by one of columns: 32 x 32 of the result, with rows `stride` apart.
inline void multiply_panels(float* out, int64_t stride, const uint16_t* a, const uint16_t* b, int64_t steps, bool add,
                            const Next& next) {
  const int64_t bytes = 4 * stride;
  float* below = out + kLanes * stride;
  if (add) {
    _tile_loadd(0, out, bytes);
    _tile_loadd(1, out + kLanes, bytes);
    _tile_loadd(2, below, bytes);
    _tile_loadd(3, below + kLanes, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t step = 0; step < steps; step++) {
    fetch_next(next, step);
    add_step(a + step * kStepWords, b + step * kStepWords);
  }
  _tile_stored(0, out, bytes);
  _tile_stored(1, out + kLanes, bytes);
  _tile_stored(2, below, bytes);
  _tile_stored(3, below + kLanes, bytes);
}

}  // namespace

// Packs a panel: `lanes` rows of the left operand, or columns of the right one (`right`), of `terms` terms. One stride is 1.
extern "C" void convoy_cpu_amx_pack(uint16_t* to, const float* from, int64_t lane_stride, int64_t term_stride, int64_t lanes,
                                    int64_t terms, bool right) {
  const bool side_by_side = lane_stride == 1;
  for (int64_t term = 0; term < terms; term += kStep, to += kStepWords) {
    const int64_t rest = terms - term < kStep ? terms - term : kStep;
    for (int64_t half = 0; half < 2; half++) {
      const int64_t lane = half * kLanes, count = lanes - lane;
      const float* part = from + lane * lane_stride + term * term_stride;
      uint16_t* tiles = to + half * kTile;
      if (side_by_side) split_side_by_side(tiles, part, term_stride, count, rest);
      else split_one_by_one(tiles, part, lane_stride, count, rest);
      if (side_by_side != right)
        for (int64_t i = 0; i < 3; i++) transpose(tiles + i * 2 * kTile);
    }
  }
}

// Sets `out` [rows, columns], with rows `stride` apart, to the product of packed panels of `steps` steps, plus its
// present values if `add`.
extern "C" void convoy_cpu_amx_multiply(float* out, int64_t stride, int64_t rows, int64_t columns, const uint16_t* a,
                                        const uint16_t* b, int64_t steps, bool add) {
  Configuration configuration;
  // The instruction reads all of the configuration, although the compiler is told only of its first bytes.
  __asm__ volatile("" ::: "memory");
  _tile_loadconfig(&configuration);
  alignas(64) float edge[kPanel * kPanel];
  // A step of a panel has 96 lines of the cache, of which each panel of columns fetches an equal share.
  const int64_t panels = (columns + kPanel - 1) / kPanel, lines = (kStepWords / 32 + panels - 1) / panels;
  for (int64_t row = 0; row < rows; row += kPanel, a += steps * kStepWords) {
    const uint16_t* panel = b;
    for (int64_t column = 0; column < columns; column += kPanel, panel += steps * kStepWords) {
      float* place = out + row * stride + column;
      const int64_t height = rows - row, width = columns - column;
      // After the last one there is nothing to fetch.
      const bool is_below = height > kPanel, is_beside = width > kPanel;
      const Next next{is_below ? a + steps * kStepWords + column / kPanel * lines * 32 : a, is_below ? lines : 0,
                      is_beside ? place + kPanel : is_below ? out + (row + kPanel) * stride : place, stride};
      if (height >= kPanel && width >= kPanel) {
        multiply_panels(place, stride, a, panel, steps, add, next);
        continue;
      }
      multiply_panels(edge, kPanel, a, panel, steps, false, next);
      for (int64_t i = 0; i < kPanel && i < height; i++)
        for (int64_t j = 0; j < kPanel && j < width; j++)
          place[i * stride + j] = edge[i * kPanel + j] + (add ? place[i * stride + j] : 0);
    }
  }
  _tile_release();
}

#pragma GCC pop_options

#else

extern "C" bool convoy_cpu_amx_prepare() { return false; }
extern "C" void convoy_cpu_amx_pack(uint16_t*, const float*, int64_t, int64_t, int64_t, int64_t, bool) {}
extern "C" void convoy_cpu_amx_multiply(float*, int64_t, int64_t, int64_t, const uint16_t*, const uint16_t*, int64_t, bool) {}

#endif
