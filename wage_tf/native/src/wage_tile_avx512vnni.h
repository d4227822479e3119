/*
 * The tile on AVX-512 VNNI: 24 accumulators, two loads of columns and twelve broadcasts for 24 vpdpbusd. The multipliers are
 * the limit, not the loads: one or two vpdpbusd a cycle against two loads.
 */
#include <immintrin.h>
#include <string.h>

#include "wage_tile.h"

#define WAGE_ZERO 128

WAGE_INLINE __m512i wage_broadcast(const uint8_t *bytes) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* `quads` and `vectors` are constants where it is inlined, so that the loops unroll and the sums stay in registers. */
WAGE_INLINE void wage_tile_of(const int quads, const int vectors, const wage_rows *rows, const wage_walk *walk,
                              const int8_t *columns, const int32_t *start, int32_t *sums) {
    __m512i sum[TILE_ROWS][2];
    const uint8_t *quad[TILE_QUADS];
    const ptrdiff_t step1 = rows->step[1], step2 = rows->step[2], step3 = rows->step[3];
#pragma GCC unroll 12
    for (int r = 0; r < 4 * quads; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] = _mm512_loadu_si512(start + TILE_VECTOR * v);
#pragma GCC unroll 3
    for (int q = 0; q < quads; q++) quad[q] = rows->quads[q];

    const ptrdiff_t run_skip = walk->run - 4 * (ptrdiff_t)walk->groups;
    const ptrdiff_t outer_skip = walk->outer_stride - walk->run * walk->runs;
    for (int32_t outer = 0; outer < walk->outer; outer++) {
        for (int32_t run = 0; run < walk->runs; run++) {
            for (int32_t group = 0; group < walk->groups; group++) {
                __m512i column[2];
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++) column[v] = _mm512_loadu_si512(columns + 64 * v);
                columns += TILE_GROUP;
#pragma GCC unroll 3
                for (int q = 0; q < quads; q++) {
                    const uint8_t *at = quad[q];
                    const uint8_t *four[4] = {at, at + step1, at + step2, at + step3};
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) {
                        const __m512i row = wage_broadcast(four[i]);
#pragma GCC unroll 2
                        for (int v = 0; v < vectors; v++)
                            sum[4 * q + i][v] = _mm512_dpbusd_epi32(sum[4 * q + i][v], row, column[v]);
                    }
                    quad[q] = at + 4;
                }
            }
#pragma GCC unroll 3
            for (int q = 0; q < quads; q++) quad[q] += run_skip;
        }
        columns += walk->unused;
#pragma GCC unroll 3
        for (int q = 0; q < quads; q++) quad[q] += outer_skip;
    }
#pragma GCC unroll 12
    for (int r = 0; r < 4 * quads; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(sums + TILE_COLUMNS * r + TILE_VECTOR * v, sum[r][v]);
}

static void wage_tile(int32_t quads, int32_t vectors, const wage_rows *rows, const wage_walk *walk, const int8_t *columns,
                      const int32_t *start, int32_t *sums) {
    switch (2 * quads + vectors) {
    case 8: wage_tile_of(3, 2, rows, walk, columns, start, sums); break;
    case 7: wage_tile_of(3, 1, rows, walk, columns, start, sums); break;
    case 6: wage_tile_of(2, 2, rows, walk, columns, start, sums); break;
    case 5: wage_tile_of(2, 1, rows, walk, columns, start, sums); break;
    case 4: wage_tile_of(1, 2, rows, walk, columns, start, sums); break;
    default: wage_tile_of(1, 1, rows, walk, columns, start, sums); break;
    }
}
