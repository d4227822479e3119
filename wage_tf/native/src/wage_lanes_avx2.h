/* Sixteen int32 lanes on AVX2 (see wage_tile.h). */
#include <immintrin.h>

#include "wage_tile.h"

typedef struct wage_lanes {
    __m256i low, high;
} wage_lanes;

#define WAGE_LANEWISE(NAME, OPERATION)                                        \
    WAGE_INLINE wage_lanes NAME(wage_lanes a, wage_lanes b) {                 \
        return (wage_lanes){OPERATION(a.low, b.low), OPERATION(a.high, b.high)}; \
    }
WAGE_LANEWISE(wage_plus, _mm256_add_epi32)
WAGE_LANEWISE(wage_and, _mm256_and_si256)
WAGE_LANEWISE(wage_max, _mm256_max_epi32)
WAGE_LANEWISE(wage_min, _mm256_min_epi32)

WAGE_INLINE wage_lanes wage_get(const int32_t *at) {
    const __m256i *from = (const __m256i *)(const void *)at;
    return (wage_lanes){_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}
WAGE_INLINE void wage_put(int32_t *at, wage_lanes x) {
    __m256i *to = (__m256i *)(void *)at;
    _mm256_storeu_si256(to, x.low);
    _mm256_storeu_si256(to + 1, x.high);
}
WAGE_INLINE wage_lanes wage_all(int32_t x) { return (wage_lanes){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
WAGE_INLINE wage_lanes wage_size(wage_lanes x) { return (wage_lanes){_mm256_abs_epi32(x.low), _mm256_abs_epi32(x.high)}; }
WAGE_INLINE wage_lanes wage_right(wage_lanes x, int32_t shift) {
    const __m128i count = _mm_cvtsi32_si128(shift);
    return (wage_lanes){_mm256_sra_epi32(x.low, count), _mm256_sra_epi32(x.high, count)};
}
WAGE_INLINE wage_lanes wage_where_greater(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    return (wage_lanes){_mm256_blendv_epi8(no.low, yes.low, _mm256_cmpgt_epi32(a.low, b.low)),
                        _mm256_blendv_epi8(no.high, yes.high, _mm256_cmpgt_epi32(a.high, b.high))};
}
WAGE_INLINE wage_lanes wage_where_equal(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    return (wage_lanes){_mm256_blendv_epi8(no.low, yes.low, _mm256_cmpeq_epi32(a.low, b.low)),
                        _mm256_blendv_epi8(no.high, yes.high, _mm256_cmpeq_epi32(a.high, b.high))};
}
WAGE_INLINE wage_lanes wage_get_bytes(const uint8_t *at) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    return (wage_lanes){_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
/* The lowest byte of every lane. Packing works within halves of a register; the permutation brings the fours in order. */
WAGE_INLINE void wage_put_bytes(uint8_t *at, wage_lanes x) {
    const __m256i low = _mm256_set1_epi32(0xFF);
    const __m256i words = _mm256_packs_epi32(_mm256_and_si256(x.low, low), _mm256_and_si256(x.high, low));
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
    _mm_storeu_si128((__m128i *)(void *)at, _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
}
WAGE_INLINE int32_t wage_most(wage_lanes x) {
    const __m256i eight = _mm256_max_epi32(x.low, x.high);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
