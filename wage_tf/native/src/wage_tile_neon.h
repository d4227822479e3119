/*
 * The tile on NEON, a quad of rows by 16 columns at a time: 16 of 32 registers are sums.
 *
 * With WAGE_DOT(sum, row, column) defined (the dot product extension) that instruction adds the four products to each int32.
 * Without, products are int16, and the sum of two of them fits there: 2 * 127 * 127 < 2^15.
 */
#include <arm_neon.h>
#include <string.h>

#include "wage_tile.h"

#define WAGE_ZERO 0

WAGE_INLINE int32x4_t wage_add_dot(int32x4_t sum, int8x16_t row, int8x16_t column) {
#ifdef WAGE_DOT
    return WAGE_DOT(sum, row, column);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(row), vget_low_s8(column)), high = vmull_high_s8(row, column);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}

WAGE_INLINE void wage_quad_of(const uint8_t *quad, const ptrdiff_t step[4], const wage_walk *walk, const int8_t *columns,
                              const int32_t *start, int32_t *sums) {
    const ptrdiff_t run_skip = walk->run - 4 * (ptrdiff_t)walk->groups;
    const ptrdiff_t outer_skip = walk->outer_stride - walk->run * walk->runs;
    int32x4_t sum[4][4];
    for (int i = 0; i < 4; i++)
        for (int v = 0; v < 4; v++) sum[i][v] = vld1q_s32(start + 4 * v);
    for (int32_t outer = 0; outer < walk->outer; outer++, quad += outer_skip, columns += walk->unused) {
        for (int32_t run = 0; run < walk->runs; run++, quad += run_skip) {
            for (int32_t group = 0; group < walk->groups; group++, quad += 4, columns += TILE_GROUP) {
                int8x16_t column[4];
                for (int v = 0; v < 4; v++) column[v] = vld1q_s8(columns + 16 * v);
                for (int i = 0; i < 4; i++) {
                    int32_t four;
                    memcpy(&four, quad + step[i], sizeof four);
                    const int8x16_t row = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    for (int v = 0; v < 4; v++) sum[i][v] = wage_add_dot(sum[i][v], row, column[v]);
                }
            }
        }
    }
    for (int i = 0; i < 4; i++)
        for (int v = 0; v < 4; v++) vst1q_s32(sums + i * TILE_COLUMNS + 4 * v, sum[i][v]);
}

static void wage_tile(int32_t quads, int32_t vectors, const wage_rows *rows, const wage_walk *walk, const int8_t *columns,
                      const int32_t *start, int32_t *sums) {
    for (int32_t q = 0; q < quads; q++)
        for (int32_t v = 0; v < vectors; v++)
            wage_quad_of(rows->quads[q], rows->step, walk, columns + 4 * TILE_VECTOR * v, start + TILE_VECTOR * v,
                         sums + 4 * q * TILE_COLUMNS + TILE_VECTOR * v);
}
