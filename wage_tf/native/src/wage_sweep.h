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
    int32_t *largest;    /* [16] magnitudes of errors, NULL otherwise */
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

/* max(x, 0) if ReLU, rounding shift, clip: the constants of a layer, in lanes. */
typedef struct wage_activation {
    wage_lanes lowest, bound, edge, half, tie, limit, least, open;
    int32_t shift;
} wage_activation;

static wage_activation wage_activation_of(const wage_layer *layer) {
    const int32_t bound = (layer->limit + 1) << layer->shift;
    const wage_activation activation = {
        .lowest = wage_all(layer->relu ? 0 : -bound),
        .bound = wage_all(bound),
        .edge = wage_all(layer->limit << layer->shift),
        .half = wage_all(layer->shift ? (1 << (layer->shift - 1)) - 1 : 0),
        .tie = wage_all(layer->shift ? 1 : 0),
        .limit = wage_all(layer->limit),
        .least = wage_all(-layer->limit),
        .open = wage_all(layer->relu ? 0 : INT32_MIN),
        .shift = layer->shift,
    };
    return activation;
}

/* Sixteen columns of a position to codes and, unless NULL, the gate; `place` is the maximum's, shifted to where it goes.
 * Beyond the bound every sum has the code of the bound, which leaves room for the rounding. */
WAGE_INLINE void wage_emit_codes(const wage_activation *to, wage_lanes sums, wage_lanes place, uint8_t *codes,
                                 uint8_t *gate) {
    const wage_lanes x = wage_min(wage_max(sums, to->lowest), to->bound);
    const wage_lanes up = wage_plus(to->half, wage_and(wage_right(x, to->shift), to->tie));
    const wage_lanes code = wage_right(wage_plus(x, up), to->shift);
    wage_put_bytes(codes, wage_max(wage_min(code, to->limit), to->least));
    if (!gate) return;
    const wage_lanes zero = wage_all(0);
    const wage_lanes open = wage_where_greater(sums, to->open, wage_all(WAGE_GATE_OPEN), zero);
    const wage_lanes clipped = wage_where_greater(wage_size(x), to->edge, wage_all(WAGE_GATE_CLIPPED), zero);
    wage_put_bytes(gate, wage_plus(wage_plus(open, clipped), place));
}

/* The maximum of a quad's four positions, and in `place` the first that has it. */
WAGE_INLINE wage_lanes wage_pooled(const int32_t *sums, wage_lanes *place) {
    const wage_lanes a = wage_get(sums), b = wage_get(sums + TILE_COLUMNS);
    const wage_lanes c = wage_get(sums + 2 * TILE_COLUMNS), d = wage_get(sums + 3 * TILE_COLUMNS);
    const wage_lanes upper = wage_max(a, b), lower = wage_max(c, d);
    const wage_lanes in_upper = wage_where_greater(b, a, wage_all(1 << WAGE_GATE_PLACE), wage_all(0));
    const wage_lanes in_lower = wage_where_greater(d, c, wage_all(3 << WAGE_GATE_PLACE), wage_all(2 << WAGE_GATE_PLACE));
    *place = wage_where_greater(lower, upper, in_lower, in_upper);
    return wage_max(upper, lower);
}

/* Up to sixteen columns of a quad, the first of them `column`. Fewer go by way of a buffer. */
WAGE_INLINE void wage_emit(const wage_sink *sink, const wage_activation *activation, const wage_grid *grid,
                           const wage_quad *quad, int32_t column, int32_t count, const int32_t *sums) {
    for (int32_t i = quad->from; i < (grid->pooled ? 1 : quad->to); i++) {
        const ptrdiff_t out = quad->out + i * grid->out_pixel + column;
        const ptrdiff_t dense = quad->dense + i * grid->dense_pixel + column;
        uint8_t *gate = sink->gate ? sink->gate + dense : NULL;
        wage_lanes place = wage_all(0);
        wage_lanes x = grid->pooled ? wage_pooled(sums, &place) : wage_get(sums + i * TILE_COLUMNS);
        if (sink->codes) {
            uint8_t *codes = (uint8_t *)sink->out + out;
            if (count == TILE_VECTOR) {
                wage_emit_codes(activation, x, place, codes, gate);
            } else {
                uint8_t some_codes[TILE_VECTOR], some_gate[TILE_VECTOR];
                wage_emit_codes(activation, x, place, some_codes, some_gate);
                memcpy(codes, some_codes, (size_t)count);
                if (gate) memcpy(gate, some_gate, (size_t)count);
            }
            continue;
        }
        int32_t *to = (int32_t *)sink->out + out;
        if (gate) {
            const wage_lanes clipped = wage_and(wage_get_bytes(gate), wage_all(WAGE_GATE_CLIPPED));
            x = wage_where_greater(clipped, wage_all(0), wage_all(0), x);
        }
        if (sink->largest) wage_put(sink->largest, wage_max(wage_get(sink->largest), wage_size(x)));
        if (count == TILE_VECTOR) {
            wage_put(to, x);
        } else {
            int32_t some[TILE_VECTOR];
            wage_put(some, x);
            memcpy(to, some, (size_t)count * sizeof *to);
        }
    }
}

/* Positions [first, last) of quads times blocks [first_block, last_block) of columns. */
static void wage_sweep_part(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, int64_t first,
                            int64_t last, int32_t first_block, int32_t last_block) {
    wage_quad quads[SWEEP_QUADS];
    int32_t sums[TILE_ROWS * TILE_COLUMNS];
    wage_rows rows;
    const wage_activation activation = wage_activation_of(sink->layer);
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
                for (int32_t i = 0; i < taken; i++)
                    for (int32_t c = 0; c < width; c += TILE_VECTOR)
                        wage_emit(sink, &activation, grid, &quads[q + i], column + c,
                                  width - c < TILE_VECTOR ? width - c : TILE_VECTOR, sums + 4 * i * TILE_COLUMNS + c);
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
