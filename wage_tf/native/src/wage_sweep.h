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
    int32_t top;    /* the row of the image where the first window begins; negative: in the border above */
    int32_t stride; /* rows between the windows of neighbours (of lines, in a pool) */
    int32_t inside; /* rows of the image, without borders */
    /* elements of the output, and of the dense gate: to the first, and between neighbours */
    ptrdiff_t out, out_image, out_row, out_pixel;
    ptrdiff_t dense, dense_image, dense_row, dense_pixel;
} wage_grid;

/* Four positions: where their windows begin, where their outputs go, which of the four are its own: the last quad of a row
 * goes back over its neighbour's pixels rather than over the edge. */
typedef struct wage_quad {
    ptrdiff_t in, out, dense;
    int32_t from, to;
} wage_quad;

/* Columns of a product: packed weights. */
typedef struct wage_columns {
    const int32_t *start; /* [runs][blocks * 32]: what each run adds to where the sums start */
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
    quad.out = grid->out + n * grid->out_image + y * grid->out_row + x * grid->out_pixel;
    quad.dense = grid->dense + n * grid->dense_image + y * grid->dense_row + x * grid->dense_pixel;
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

/* Runs of the window. */
typedef struct wage_span {
    int32_t first, last;
} wage_span;

/* Quads [first, last) times blocks [first_block, last_block) of columns, over some runs of the window. */
static void wage_sweep_part(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, wage_span runs,
                            int64_t first, int64_t last, int32_t first_block, int32_t last_block) {
    wage_quad quads[SWEEP_QUADS];
    int32_t sums[TILE_ROWS * TILE_COLUMNS], start[TILE_COLUMNS];
    wage_rows rows;
    wage_walk walk = columns->walk;
    const wage_activation activation = wage_activation_of(sink->layer);
    const ptrdiff_t run_bytes = (ptrdiff_t)walk.groups * TILE_GROUP, block_bytes = walk.runs * run_bytes;
    const ptrdiff_t padded = (ptrdiff_t)wage_ceil(columns->count, TILE_COLUMNS) * TILE_COLUMNS;
    const uint8_t *origin = grid->rows + runs.first * walk.run;
    walk.runs = runs.last - runs.first;
    wage_grid_steps(grid, rows.step);
    for (; first < last; first += SWEEP_QUADS) {
        const int32_t band = last - first < SWEEP_QUADS ? (int32_t)(last - first) : SWEEP_QUADS;
        for (int32_t q = 0; q < band; q++) quads[q] = wage_grid_quad(grid, first + q);
        for (int32_t block = first_block; block < last_block; block++) {
            const int32_t column = block * TILE_COLUMNS, left = columns->count - column;
            const int32_t width = left < TILE_COLUMNS ? left : TILE_COLUMNS;
            const int8_t *packed = columns->packed + block * block_bytes + runs.first * run_bytes;
            memset(start, 0, sizeof start);
            for (int32_t run = runs.first; run < runs.last; run++)
                for (int32_t c = 0; c < TILE_COLUMNS; c++) start[c] += columns->start[run * padded + column + c];
            for (int32_t q = 0; q < band; q += TILE_QUADS) {
                const int32_t taken = band - q < TILE_QUADS ? band - q : TILE_QUADS;
                for (int32_t i = 0; i < taken; i++) rows.quads[i] = origin + quads[q + i].in;
                wage_tile(taken, width > TILE_VECTOR ? 2 : 1, &rows, &walk, packed, start, sums);
                for (int32_t i = 0; i < taken; i++)
                    for (int32_t c = 0; c < width; c += TILE_VECTOR)
                        wage_emit(sink, &activation, grid, &quads[q + i], column + c,
                                  width - c < TILE_VECTOR ? width - c : TILE_VECTOR, sums + 4 * i * TILE_COLUMNS + c);
            }
        }
    }
}

/* This thread's share: positions, or columns where those are too few (dense layers, single images). */
static void wage_sweep_rows(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, wage_span runs,
                            const wage_team *team) {
    const int64_t quads = wage_grid_quads(grid);
    const int32_t blocks = wage_ceil(columns->count, TILE_COLUMNS);
    int64_t first, last;
    if (quads >= 8 * TILE_QUADS * team->count || blocks == 1) {
        wage_share(team, quads, TILE_QUADS, &first, &last);
        wage_sweep_part(grid, columns, sink, runs, first, last, 0, blocks);
    } else {
        wage_share(team, blocks, 1, &first, &last);
        wage_sweep_part(grid, columns, sink, runs, 0, quads, (int32_t)first, (int32_t)last);
    }
}

/* The runs that reach into the image from row y of the grid: all others would add zeros of the border. */
static wage_span wage_grid_span(const wage_grid *grid, int32_t y, int32_t runs) {
    const int32_t lines = grid->pooled ? 2 : 1;
    const int32_t top = grid->top + y * lines * grid->stride, bottom = top + (lines - 1) * grid->stride;
    wage_span span = {bottom < 0 ? -bottom : 0, grid->inside - top < runs ? grid->inside - top : runs};
    if (span.first > runs) span.first = runs;
    if (span.last < span.first) span.last = span.first;
    return span;
}

/* All positions, rows with the same runs together. */
static void wage_sweep(const wage_grid *grid, const wage_columns *columns, const wage_sink *sink, const wage_team *team) {
    for (int32_t y = 0, next; y < grid->height; y = next) {
        const wage_span runs = wage_grid_span(grid, y, columns->walk.runs);
        for (next = y + 1; next < grid->height; next++) {
            const wage_span other = wage_grid_span(grid, next, columns->walk.runs);
            if (other.first != runs.first || other.last != runs.last) break;
        }
        wage_grid rows = *grid;
        rows.height = next - y;
        rows.rows += y * grid->row;
        rows.out += y * grid->out_row;
        rows.dense += y * grid->dense_row;
        wage_sweep_rows(&rows, columns, sink, runs, team);
    }
}

#endif
