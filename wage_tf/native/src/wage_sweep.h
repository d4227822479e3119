/*
 * Forward and error pass: the tile swept over the positions of an image, and what becomes of its sums while they are hot.
 * To be included after a tile (see wage_tile.h).
 */
#ifndef WAGE_SWEEP_H
#define WAGE_SWEEP_H

#include "wage_pack.h"

enum {
    SWEEP_QUADS = 96,    /* quads of a band: its rows and a block of columns stay in the nearest caches */
    SWEEP_LARGEST_SHIFT = 23 /* up to here (limit + 1) << shift and its rounding fit in int32 */
};

/* Positions, taken four at a time: neighbours in a row, or the pixels of a 2x2 pool. */
typedef struct wage_grid {
    const uint8_t *rows;        /* of the first position's window */
    ptrdiff_t image, row, pixel; /* bytes between the windows of neighbours */
    int32_t count, height, width;
    int32_t pooled; /* 2x2: height and width are those of the pool's output */
    /* elements between outputs, and between those of the dense gate (or sums) */
    ptrdiff_t out_image, out_row, out_pixel;
    ptrdiff_t dense_image, dense_row, dense_pixel;
} wage_grid;

/* Four positions: where their windows begin, where their outputs go, which of the four are its own: the last quad of a row
 * goes back over its neighbour's pixels rather than over the edge. */
typedef struct wage_quad {
    ptrdiff_t in, out, dense;
    int32_t from, to;
} wage_quad;

/* Columns of a product: packed weights. */
typedef struct wage_columns {
    const int32_t *start; /* [blocks * 32] */
    const int8_t *packed; /* blocks of runs * groups * TILE_GROUP bytes */
    int32_t count;
    wage_walk walk;
} wage_columns;

/* What becomes of sums: those of one position and up to 32 columns. */
typedef struct wage_sink {
    const wage_layer *layer;
    void *out;           /* codes or sums */
    uint8_t *gate;       /* written by codes, read by errors; NULL: none */
    int32_t codes;       /* write codes */
    int32_t *largest;    /* [32] magnitudes of errors, NULL otherwise */
} wage_sink;

static int64_t wage_grid_quads(const wage_grid *grid) {
    const int64_t width = grid->pooled ? grid->width : wage_ceil(grid->width, 4);
    return width * grid->height * grid->count;
}

static void wage_grid_steps(const wage_grid *grid, ptrdiff_t step[4]) {
    for (int32_t i = 0; i < 4; i++) {
        if (grid->pooled)
            step[i] = (i >> 1) * grid->row / 2 + (i & 1) * grid->pixel / 2;
        else
            step[i] = (i < grid->width ? i : grid->width - 1) * grid->pixel;
    }
}

static wage_quad wage_grid_quad(const wage_grid *grid, int64_t index) {
    const int32_t quads = grid->pooled ? grid->width : wage_ceil(grid->width, 4);
    int32_t x = (int32_t)(index % quads);
    const int32_t y = (int32_t)(index / quads % grid->height);
    const int64_t n = index / quads / grid->height;
    wage_quad quad = {0, 0, 0, 0, 4};
    if (!grid->pooled) {
        x *= 4;
        if (grid->width < 4) {
            quad.to = grid->width;
        } else if (x + 4 > grid->width) {
            quad.from = x + 4 - grid->width;
            x = grid->width - 4;
        }
    }
    quad.in = n * grid->image + y * grid->row + x * grid->pixel;
    quad.out = n * grid->out_image + y * grid->out_row + x * grid->out_pixel;
    quad.dense = n * grid->dense_image + y * grid->dense_row + x * grid->dense_pixel;
    return quad;
}

/* max(x, 0) if ReLU, rounding shift, clip; and the gate. */
WAGE_INLINE void wage_emit_codes(const wage_layer *layer, const int32_t *sums, const uint8_t *place, int32_t columns,
                                 uint8_t *codes, uint8_t *gates) {
    const int32_t shift = layer->shift, limit = layer->limit;
    const int32_t edge = limit << shift, bound = (limit + 1) << shift;
    const int32_t half = shift ? (1 << (shift - 1)) - 1 : 0, tie = shift ? 1 : 0;
    const int32_t lowest = layer->relu ? 0 : -bound, open = layer->relu ? 0 : INT32_MIN;
    for (int32_t c = 0; c < columns; c++) {
        int32_t x = sums[c] < lowest ? lowest : sums[c];
        x = x > bound ? bound : x;
        int32_t code = (x + half + (x >> shift & tie)) >> shift;
        code = code > limit ? limit : code;
        code = code < -limit ? -limit : code;
        codes[c] = (uint8_t)code;
        if (gates) {
            const int32_t clipped = (x > edge) | (x < -edge);
            const int32_t gate = (sums[c] > open) | clipped << 1;
            gates[c] = (uint8_t)(gate | (place ? place[c] << WAGE_GATE_PLACE : 0));
        }
    }
}

WAGE_INLINE void wage_emit_sums(const int32_t *sums, const uint8_t *gate, int32_t columns, int32_t *out,
                                int32_t *largest) {
    for (int32_t c = 0; c < columns; c++) {
        int32_t x = sums[c];
        if (gate) x = gate[c] & WAGE_GATE_CLIPPED ? 0 : x;
        out[c] = x;
        if (largest) {
            const int32_t size = x < 0 ? -x : x;
            largest[c] = largest[c] < size ? size : largest[c];
        }
    }
}

/* The maximum of a quad's four positions and the first place that has it. */
WAGE_INLINE void wage_emit_pooled(int32_t *sums, uint8_t *place, int32_t columns) {
    for (int32_t c = 0; c < columns; c++) {
        const int32_t a = sums[c], b = sums[c + TILE_COLUMNS];
        const int32_t d = sums[c + 2 * TILE_COLUMNS], e = sums[c + 3 * TILE_COLUMNS];
        const int32_t upper = b > a ? b : a, lower = e > d ? e : d;
        const int32_t upper_place = b > a, lower_place = 2 + (e > d);
        sums[c] = lower > upper ? lower : upper;
        place[c] = (uint8_t)(lower > upper ? lower_place : upper_place);
    }
}

WAGE_INLINE void wage_emit(const wage_sink *sink, const wage_grid *grid, const wage_quad *quad, int32_t first,
                           int32_t columns, int32_t *sums) {
    uint8_t place[TILE_COLUMNS];
    if (grid->pooled) wage_emit_pooled(sums, place, columns);
    for (int32_t i = quad->from; i < (grid->pooled ? 1 : quad->to); i++) {
        const int32_t *row = sums + i * TILE_COLUMNS;
        const ptrdiff_t out = quad->out + i * grid->out_pixel + first;
        const ptrdiff_t dense = quad->dense + i * grid->dense_pixel + first;
        uint8_t *gate = sink->gate ? sink->gate + dense : NULL;
        if (!sink->codes)
            wage_emit_sums(row, gate, columns, (int32_t *)sink->out + out, sink->largest);
        else if (grid->pooled)
            wage_emit_codes(sink->layer, row, place, columns, (uint8_t *)sink->out + out, gate);
        else
            wage_emit_codes(sink->layer, row, NULL, columns, (uint8_t *)sink->out + out, gate);
    }
}

/* Positions [first, last) of quads times blocks [first_block, last_block) of columns. */
static void wage_sweep_part(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, int64_t first,
                            int64_t last, int32_t first_block, int32_t last_block) {
    wage_quad quads[SWEEP_QUADS];
    int32_t sums[TILE_ROWS * TILE_COLUMNS];
    wage_rows rows;
    const ptrdiff_t block_bytes = (ptrdiff_t)columns->walk.runs * columns->walk.groups * TILE_GROUP;
    wage_grid_steps(grid, rows.step);
    for (; first < last; first += SWEEP_QUADS) {
        const int32_t band = last - first < SWEEP_QUADS ? (int32_t)(last - first) : SWEEP_QUADS;
        for (int32_t q = 0; q < band; q++) quads[q] = wage_grid_quad(grid, first + q);
        for (int32_t block = first_block; block < last_block; block++) {
            const int32_t column = block * TILE_COLUMNS, left = columns->count - column;
            const int32_t width = left < TILE_COLUMNS ? left : TILE_COLUMNS;
            const int8_t *packed = columns->packed + block * block_bytes;
            for (int32_t q = 0; q < band; q += TILE_QUADS) {
                const int32_t taken = band - q < TILE_QUADS ? band - q : TILE_QUADS;
                for (int32_t i = 0; i < taken; i++) rows.quads[i] = grid->rows + quads[q + i].in;
                wage_tile(taken, width > TILE_VECTOR ? 2 : 1, &rows, &columns->walk, packed, columns->start + column, sums);
                for (int32_t i = 0; i < taken; i++) {
                    int32_t *four = sums + 4 * i * TILE_COLUMNS;
                    if (width == TILE_COLUMNS)
                        wage_emit(sink, grid, &quads[q + i], column, TILE_COLUMNS, four);
                    else
                        wage_emit(sink, grid, &quads[q + i], column, width, four);
                }
            }
        }
    }
}

/* This thread's share: positions, or columns where those are too few (dense layers, single images). */
static void wage_sweep(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, const wage_team *team) {
    const int64_t quads = wage_grid_quads(grid);
    const int32_t blocks = wage_ceil(columns->count, TILE_COLUMNS);
    int64_t first, last;
    if (quads >= 8 * TILE_QUADS * team->count || blocks == 1) {
        wage_share(team, quads, TILE_QUADS, &first, &last);
        wage_sweep_part(grid, columns, sink, first, last, 0, blocks);
    } else {
        wage_share(team, blocks, 1, &first, &last);
        wage_sweep_part(grid, columns, sink, 0, quads, (int32_t)first, (int32_t)last);
    }
}

#endif
