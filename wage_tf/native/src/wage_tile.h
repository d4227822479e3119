/*
 * The one product of all passes: a tile of 12 rows x 32 columns of int32 sums.
 *
 *   sums[r][c] = start[c] + sum over k of row_r(k) * column_c(k)
 *
 * A row is four bytes at a time, read in place: row 4q + i begins at quads[q] + step[i] and follows a walk of `outer` times
 * `runs` pieces of 4 * groups bytes. That is a window over an image for the forward and the error pass (a run is a row of
 * the window, all its pixels and channels in one piece), and a channel's plane for the gradient (a run is a row of
 * positions). Nothing is gathered into a matrix before.
 * Columns are packed by fours of k: [k / 4][32][4].
 *
 * Each instruction set defines, before it includes the passes (wage_passes.h):
 *   WAGE_ZERO   128 where rows are unsigned bytes: signed operands are read with 128 added, and the sums start at -128 times
 *               the sum of their column; 0 where rows are signed. Columns always are.
 *   wage_tile(quads, vectors, rows, walk, columns, start, sums)
 *               for 1 to 3 quads and 1 or 2 vectors of 16 columns.
 *   wage_lanes  sixteen int32 sums, with the few operations that what follows a tile needs (wage_lanes_*.h).
 */
#ifndef WAGE_TILE_H
#define WAGE_TILE_H

#include "wage_inline.h"

enum {
    TILE_QUADS = 3,
    TILE_ROWS = 4 * TILE_QUADS,
    TILE_COLUMNS = 32,
    TILE_VECTOR = 16,
    TILE_GROUP = 4 * TILE_COLUMNS /* bytes of the columns for one step of four k */
};

/* Where the rows of a tile begin. */
typedef struct wage_rows {
    const uint8_t *quads[TILE_QUADS];
    ptrdiff_t step[4]; /* of the four rows of a quad; step[0] is 0 */
} wage_rows;

/* How every row goes on from there. */
typedef struct wage_walk {
    int32_t outer, runs, groups;
    ptrdiff_t run;          /* bytes from the beginning of a run to the next */
    ptrdiff_t outer_stride; /* bytes from the beginning of an outer round to the next */
    ptrdiff_t unused;       /* bytes of columns passed over between two outer rounds */
    int32_t largest;        /* magnitude of a row's byte times a column's */
} wage_walk;

#define WAGE_INLINE static inline __attribute__((always_inline))

#endif
