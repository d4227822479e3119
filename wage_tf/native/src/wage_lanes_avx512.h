/* Sixteen int32 lanes on AVX-512 (see wage_tile.h). */
#include <immintrin.h>

#include "wage_tile.h"

typedef __m512i wage_lanes;

WAGE_INLINE wage_lanes wage_get(const int32_t *at) { return _mm512_loadu_si512(at); }
WAGE_INLINE void wage_put(int32_t *at, wage_lanes x) { _mm512_storeu_si512(at, x); }
WAGE_INLINE wage_lanes wage_all(int32_t x) { return _mm512_set1_epi32(x); }
WAGE_INLINE wage_lanes wage_plus(wage_lanes a, wage_lanes b) { return _mm512_add_epi32(a, b); }
WAGE_INLINE wage_lanes wage_and(wage_lanes a, wage_lanes b) { return _mm512_and_si512(a, b); }
WAGE_INLINE wage_lanes wage_max(wage_lanes a, wage_lanes b) { return _mm512_max_epi32(a, b); }
WAGE_INLINE wage_lanes wage_min(wage_lanes a, wage_lanes b) { return _mm512_min_epi32(a, b); }
WAGE_INLINE wage_lanes wage_size(wage_lanes x) { return _mm512_abs_epi32(x); }
WAGE_INLINE wage_lanes wage_right(wage_lanes x, int32_t shift) { return _mm512_sra_epi32(x, _mm_cvtsi32_si128(shift)); }
WAGE_INLINE wage_lanes wage_where_greater(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    return _mm512_mask_mov_epi32(no, _mm512_cmpgt_epi32_mask(a, b), yes);
}
WAGE_INLINE wage_lanes wage_where_equal(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    return _mm512_mask_mov_epi32(no, _mm512_cmpeq_epi32_mask(a, b), yes);
}
WAGE_INLINE wage_lanes wage_get_bytes(const uint8_t *at) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at));
}
WAGE_INLINE void wage_put_bytes(uint8_t *at, wage_lanes x) {
    _mm_storeu_si128((__m128i *)(void *)at, _mm512_cvtepi32_epi8(x));
}
WAGE_INLINE int32_t wage_most(wage_lanes x) { return _mm512_reduce_max_epi32(x); }
