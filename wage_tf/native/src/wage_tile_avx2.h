/*
 * The tile on 256-bit registers, in pieces of up to 6 rows x 16 columns whose sums fit in sixteen of them.
 *
 * With WAGE_DOT(sum, row, column) defined (AVX-VNNI) that instruction adds the four products to each int32. Without, vpmaddubsw
 * adds pairs of products in int16, where the bounds decide how far that is exact:
 *   DEFERRED  many pairs fit in int16 (ternary weights: 64): they are added up there and widened now and then;
 *   PAIRS     one pair fits: widened at once;
 *   SPLIT     rows up to 255 times columns up to 127: the rows' highest bit is multiplied for itself.
 */
#include <immintrin.h>
#include <string.h>

#include "wage_tile.h"

#define WAGE_ZERO 128

enum { TILE_PIECE = 6, TILE_SHORT = 8 /* groups below which widening now and then does not pay */ };

typedef enum wage_dot { DOT, DEFERRED, PAIRS, SPLIT } wage_dot;

WAGE_INLINE __m256i wage_read(const void *at) { return _mm256_loadu_si256((const __m256i *)at); }
WAGE_INLINE void wage_write(void *at, __m256i x) { _mm256_storeu_si256((__m256i *)at, x); }

/* Keeps the compiler from computing all products before all sums, for which there are no registers. */
#define WAGE_HOLD(x) __asm__ volatile("" : "+x"(x))

WAGE_INLINE __m256i wage_widen(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

WAGE_INLINE __m256i wage_add_dot(const wage_dot dot, __m256i sum, __m256i row, __m256i column) {
    switch (dot) {
#ifdef WAGE_DOT
    case DOT: return WAGE_DOT(sum, row, column);
#endif
    case DEFERRED: return _mm256_add_epi16(sum, _mm256_maddubs_epi16(row, column));
    case SPLIT: {
        const __m256i high = _mm256_set1_epi8(INT8_MIN);
        const __m256i upper = _mm256_maddubs_epi16(_mm256_and_si256(row, high), column);
        const __m256i lower = _mm256_maddubs_epi16(_mm256_andnot_si256(high, row), column);
        return _mm256_add_epi32(sum, _mm256_add_epi32(wage_widen(upper), wage_widen(lower)));
    }
    default: return _mm256_add_epi32(sum, wage_widen(_mm256_maddubs_epi16(row, column)));
    }
}

/* The rows of a piece, first .. first + count - 1 of the tile's. */
typedef struct wage_piece {
    const uint8_t *quad[TILE_QUADS];
    ptrdiff_t step[4];
    const int8_t *columns;
    __m256i sum[TILE_PIECE][2];
} wage_piece;

/* `groups` steps of four k. `first`, `count` and `dot` are constants where it is inlined, and the piece is registers. */
WAGE_INLINE void wage_piece_groups(const int first, const int count, const wage_dot dot, wage_piece *piece,
                                   int32_t groups) {
    for (int32_t group = 0; group < groups; group++, piece->columns += TILE_GROUP) {
        const __m256i column[2] = {wage_read(piece->columns), wage_read(piece->columns + 32)};
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, piece->quad[(first + r) / 4] + piece->step[(first + r) % 4], sizeof four);
            const __m256i row = _mm256_set1_epi32(four);
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                piece->sum[r][v] = wage_add_dot(dot, piece->sum[r][v], row, column[v]);
                WAGE_HOLD(piece->sum[r][v]);
            }
        }
#pragma GCC unroll 3
        for (int q = first / 4; q <= (first + count - 1) / 4; q++) piece->quad[q] += 4;
    }
}

/* The same with sums in memory: as many groups at a time as int16 takes. */
WAGE_INLINE void wage_piece_deferred(const int first, const int count, wage_piece *piece, int32_t groups, int32_t depth,
                                     int32_t *sums) {
    for (; groups > 0; groups -= depth) {
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) piece->sum[r][0] = piece->sum[r][1] = _mm256_setzero_si256();
        wage_piece_groups(first, count, DEFERRED, piece, groups < depth ? groups : depth);
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                int32_t *to = sums + r * TILE_COLUMNS + 8 * v;
                wage_write(to, _mm256_add_epi32(wage_read(to), wage_widen(piece->sum[r][v])));
            }
        }
    }
}

WAGE_INLINE void wage_piece_of(const int first, const int count, const wage_dot dot, const wage_rows *rows,
                               const wage_walk *walk, const int8_t *columns, const int32_t *start, int32_t *sums) {
    const ptrdiff_t run_skip = walk->run - 4 * (ptrdiff_t)walk->groups;
    const ptrdiff_t outer_skip = walk->outer_stride - walk->run * walk->runs;
    const int32_t depth = dot == DEFERRED ? INT16_MAX / (2 * walk->largest) : 0;
    wage_piece piece = {.step = {0, rows->step[1], rows->step[2], rows->step[3]}, .columns = columns};
    sums += first * TILE_COLUMNS;
#pragma GCC unroll 3
    for (int q = first / 4; q <= (first + count - 1) / 4; q++) piece.quad[q] = rows->quads[q];
#pragma GCC unroll 6
    for (int r = 0; r < count; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            piece.sum[r][v] = wage_read(start + 8 * v);
            if (dot == DEFERRED) wage_write(sums + r * TILE_COLUMNS + 8 * v, piece.sum[r][v]);
        }
    }
    for (int32_t outer = 0; outer < walk->outer; outer++) {
        for (int32_t run = 0; run < walk->runs; run++) {
            if (dot == DEFERRED)
                wage_piece_deferred(first, count, &piece, walk->groups, depth, sums);
            else
                wage_piece_groups(first, count, dot, &piece, walk->groups);
#pragma GCC unroll 3
            for (int q = first / 4; q <= (first + count - 1) / 4; q++) piece.quad[q] += run_skip;
        }
        piece.columns += walk->unused;
#pragma GCC unroll 3
        for (int q = first / 4; q <= (first + count - 1) / 4; q++) piece.quad[q] += outer_skip;
    }
#pragma GCC unroll 6
    for (int r = 0; dot != DEFERRED && r < count; r++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) wage_write(sums + r * TILE_COLUMNS + 8 * v, piece.sum[r][v]);
}

/* All rows of 16 columns. */
WAGE_INLINE void wage_strip_of(const wage_dot dot, int32_t quads, const wage_rows *rows, const wage_walk *walk,
                               const int8_t *columns, const int32_t *start, int32_t *sums) {
    if (quads == 3) {
        wage_piece_of(0, 6, dot, rows, walk, columns, start, sums);
        wage_piece_of(6, 6, dot, rows, walk, columns, start, sums);
        return;
    }
    wage_piece_of(0, 4, dot, rows, walk, columns, start, sums);
    if (quads == 2) wage_piece_of(4, 4, dot, rows, walk, columns, start, sums);
}

static void wage_tile(int32_t quads, int32_t vectors, const wage_rows *rows, const wage_walk *walk, const int8_t *columns,
                      const int32_t *start, int32_t *sums) {
    for (int32_t v = 0; v < vectors; v++, columns += 4 * TILE_VECTOR, start += TILE_VECTOR, sums += TILE_VECTOR) {
#ifdef WAGE_DOT
        wage_strip_of(DOT, quads, rows, walk, columns, start, sums);
#else
        if (2 * walk->largest > INT16_MAX)
            wage_strip_of(SPLIT, quads, rows, walk, columns, start, sums);
        else if (2 * walk->largest > INT16_MAX / TILE_SHORT || walk->groups < TILE_SHORT)
            wage_strip_of(PAIRS, quads, rows, walk, columns, start, sums);
        else
            wage_strip_of(DEFERRED, quads, rows, walk, columns, start, sums);
#endif
    }
}
