/*
 * The gradient of a linear layer's weights: sums of x * e over positions.
 *
 * Positions go chunk by chunk through the workspace: x as one plane per channel (with strides, one per phase of columns),
 * e as columns by fours of positions. A row of the tile is a channel seen from a tap of the window, its plane read from
 * where the tap begins, so that every byte of x is stored once for all taps. Rows of positions are filled up to fours with
 * errors of 0.
 *
 * A team shares the tiles of every chunk; where there are too few of them (a first layer), each thread takes chunks of its
 * own and the sums are added up at the end.
 */
#ifndef WAGE_GRADIENT_H
#define WAGE_GRADIENT_H

#include "wage_linear.h"

enum {
    CHUNK_POSITIONS = 4096, /* as many as make loading and storing a tile's sums cheap, few enough for the nearest caches */
    COLUMNS_NEAR = 1 << 18, /* bytes of e's columns that the nearest caches hold: then sums are gone through in order */
    TILES_PER_THREAD = 6    /* fewer, and threads take chunks instead of tiles */
};

/* The layer as positions and chunks of them. */
typedef struct wage_chunks {
    int32_t images, rows;       /* of a chunk */
    int32_t images_all, width;  /* dense layers: one image of batch positions */
    int32_t width4;             /* width in fours */
    ptrdiff_t x_pixel, e_pixel; /* bytes between positions */
    int32_t phases, phase_len, plane_rows;
    ptrdiff_t plane;            /* bytes of a channel's planes */
    ptrdiff_t packed_block;     /* bytes of 32 columns of e */
    int32_t by_taps;            /* quads are four taps of a channel rather than four channels */
    int32_t quads, tiles, blocks;
    int32_t by_rows;            /* all columns of some weights one after another rather than all weights of some columns */
} wage_chunks;

static wage_chunks wage_chunks_of(const wage_layer *layer, int32_t count, const wage_image *x, const wage_image *e) {
    wage_chunks chunks;
    const int single = layer->out_h == 1 && layer->out_w == 1 && layer->window_h == 1 && layer->window_w == 1;
    chunks.images_all = single ? 1 : count;
    chunks.width = single ? count : layer->out_w;
    chunks.x_pixel = single && x ? x->image : (ptrdiff_t)layer->channels;
    chunks.e_pixel = single && e ? e->image : (ptrdiff_t)layer->filters;
    chunks.width4 = wage_ceil(chunks.width, 4);
    const int32_t row = 4 * chunks.width4, image = row * layer->out_h;
    chunks.images = image < CHUNK_POSITIONS ? CHUNK_POSITIONS / image : 1;
    if (chunks.images > chunks.images_all) chunks.images = chunks.images_all;
    chunks.rows = image <= CHUNK_POSITIONS ? layer->out_h : row < CHUNK_POSITIONS ? CHUNK_POSITIONS / row : 1;
    chunks.phases = single ? 1 : layer->stride_w;
    chunks.phase_len = row + (layer->window_w - 1) / chunks.phases;
    chunks.plane_rows = (chunks.rows - 1) * layer->stride_h + layer->window_h;
    const ptrdiff_t bytes = (ptrdiff_t)chunks.phases * chunks.images * chunks.plane_rows * chunks.phase_len + WAGE_READ_BEYOND;
    /* An odd number of cache lines, so that the planes of neighbouring channels do not meet in the same sets. */
    chunks.plane = 64 * ((bytes + 63) / 64 | 1);
    chunks.packed_block = (ptrdiff_t)chunks.images * chunks.rows * chunks.width4 * TILE_GROUP;
    chunks.by_taps = layer->channels < 3 && chunks.phases == 1;
    chunks.quads = chunks.by_taps ? layer->channels * layer->window_h * wage_ceil(layer->window_w, 4)
                                  : wage_ceil(layer->channels, 4) * layer->window_h * layer->window_w;
    chunks.tiles = wage_ceil(chunks.quads, TILE_QUADS);
    chunks.blocks = wage_ceil(layer->filters, TILE_COLUMNS);
    chunks.by_rows = chunks.blocks * chunks.packed_block <= COLUMNS_NEAR;
    return chunks;
}

/* What of a chunk lies in the workspace. */
typedef struct wage_chunk {
    uint8_t *planes, *packed;
    int32_t *start;
    int64_t first_image;
    int32_t images, first_row, rows;
} wage_chunk;

static size_t wage_chunk_size(const wage_layer *layer, const wage_chunks *chunks) {
    return (size_t)chunks->plane * 4 * wage_ceil(layer->channels, 4) + WAGE_READ_BEYOND +
           (size_t)chunks->blocks * (chunks->packed_block + TILE_COLUMNS * sizeof(int32_t));
}

static int32_t wage_chunks_count(const wage_layer *layer, const wage_chunks *chunks) {
    return wage_ceil(chunks->images_all, chunks->images) * wage_ceil(layer->out_h, chunks->rows);
}

static wage_chunk wage_chunk_at(const wage_layer *layer, const wage_chunks *chunks, int64_t index, uint8_t *workspace) {
    wage_chunk chunk;
    const int32_t bands = wage_ceil(layer->out_h, chunks->rows);
    chunk.first_image = index / bands * chunks->images;
    chunk.first_row = (int32_t)(index % bands) * chunks->rows;
    const int64_t images = chunks->images_all - chunk.first_image;
    chunk.images = images < chunks->images ? (int32_t)images : chunks->images;
    chunk.rows = layer->out_h - chunk.first_row < chunks->rows ? layer->out_h - chunk.first_row : chunks->rows;
    chunk.start = (int32_t *)(void *)workspace;
    chunk.packed = workspace + (size_t)chunks->blocks * TILE_COLUMNS * sizeof(int32_t);
    chunk.planes = chunk.packed + chunks->blocks * chunks->packed_block;
    return chunk;
}

/* -128 * (sum of the errors) of a block of columns, where a signed x is read with 128 added. */
static void wage_chunk_start(const wage_layer *layer, const wage_chunks *chunks, const wage_chunk *chunk, int64_t block) {
    int32_t *start = chunk->start + block * TILE_COLUMNS;
    memset(start, 0, TILE_COLUMNS * sizeof *start);
    if (!layer->x_signed) return;
    const int8_t *packed = (const int8_t *)chunk->packed + block * chunks->packed_block;
    const int64_t groups = (int64_t)chunk->images * chunk->rows * chunks->width4;
    for (int64_t g = 0; g < groups; g++, packed += TILE_GROUP)
        for (int32_t c = 0; c < TILE_COLUMNS; c++)
            start[c] -= WAGE_ZERO * (packed[4 * c] + packed[4 * c + 1] + packed[4 * c + 2] + packed[4 * c + 3]);
}

static void wage_chunk_pack(const wage_layer *layer, const wage_chunks *chunks, const wage_chunk *chunk,
                            const wage_image *x, const wage_image *e, const wage_team *crew) {
    int64_t first, last;
    wage_share(crew, chunks->blocks, 1, &first, &last);
    const int32_t column = (int32_t)first * TILE_COLUMNS;
    const int32_t columns = (last < chunks->blocks ? (int32_t)last * TILE_COLUMNS : layer->filters) - column;
    for (int32_t n = 0; n < chunk->images && first < last; n++)
        for (int32_t y = 0; y < chunk->rows; y++)
            wage_pack_columns((const uint8_t *)e->data + (chunk->first_image + n) * e->image +
                                  (chunk->first_row + y) * e->row + column,
                              chunks->e_pixel, chunks->width, columns, WAGE_ZERO,
                              chunk->packed + first * chunks->packed_block +
                                  ((ptrdiff_t)n * chunk->rows + y) * chunks->width4 * TILE_GROUP,
                              chunks->packed_block);
    for (int64_t block = first; block < last; block++) wage_chunk_start(layer, chunks, chunk, block);

    const int32_t rows = (chunk->rows - 1) * layer->stride_h + layer->window_h;
    const int32_t phases = chunks->phases;
    const ptrdiff_t phase = (ptrdiff_t)chunk->images * rows * chunks->phase_len;
    const int32_t reach = (chunks->width - 1) * phases + layer->window_w;
    wage_share(crew, layer->channels, 16, &first, &last);
    for (int32_t p = 0; p < phases && first < last; p++) {
        for (int32_t n = 0; n < chunk->images; n++) {
            for (int32_t y = 0; y < rows; y++) {
                const uint8_t *pixels = (const uint8_t *)x->data + (chunk->first_image + n) * x->image +
                                        (chunk->first_row * layer->stride_h + y - layer->pad_top) * x->row +
                                        (ptrdiff_t)(p - layer->pad_left) * layer->channels;
                if (reach > p)
                    wage_pack_planes(pixels + first, chunks->x_pixel * phases, wage_ceil(reach - p, phases),
                                     (int32_t)(last - first), layer->x_signed ? WAGE_ZERO : 0,
                                     chunk->planes + first * chunks->plane + p * phase +
                                         ((ptrdiff_t)n * rows + y) * chunks->phase_len,
                                     chunks->plane);
            }
        }
    }
}

/* Four rows of the tile: where their planes begin, and which rows of the weights they are. */
typedef struct wage_taps {
    ptrdiff_t in;
    int32_t weights, weights_step, count;
    wage_span rows; /* of positions whose window has this tap inside the image */
} wage_taps;

static wage_taps wage_taps_at(const wage_layer *layer, const wage_chunks *chunks, const wage_chunk *chunk, int32_t quad) {
    wage_taps taps;
    int32_t channel, y, x;
    if (chunks->by_taps) {
        const int32_t quads = wage_ceil(layer->window_w, 4);
        x = quad % quads * 4;
        y = quad / quads % layer->window_h;
        channel = quad / quads / layer->window_h;
        taps.count = layer->window_w - x;
        taps.weights_step = layer->channels;
    } else {
        x = quad % layer->window_w;
        y = quad / layer->window_w % layer->window_h;
        channel = quad / layer->window_w / layer->window_h * 4;
        taps.count = layer->channels - channel;
        taps.weights_step = 1;
    }
    if (taps.count > 4) taps.count = 4;
    const int32_t top = chunk->first_row * layer->stride_h + y - layer->pad_top;
    taps.rows = (wage_span){top < 0 ? wage_ceil(-top, layer->stride_h) : 0, wage_ceil(layer->in_h - top, layer->stride_h)};
    taps.weights = (y * layer->window_w + x) * layer->channels + channel;
    const int32_t phases = chunks->phases;
    const int32_t rows = (chunk->rows - 1) * layer->stride_h + layer->window_h;
    taps.in = channel * chunks->plane + (ptrdiff_t)(x % phases) * chunk->images * rows * chunks->phase_len +
              y * chunks->phase_len + x / phases;
    return taps;
}

/* Adds a row of sums to the weights' (or, `fresh`, stores it) and keeps the largest magnitude of the results. */
WAGE_INLINE void wage_add_row(int32_t *to, const int32_t *sums, int32_t count, int fresh, wage_lanes *largest) {
    for (int32_t c = 0; c < count; c += TILE_VECTOR) {
        wage_lanes sum = wage_get(sums + c);
        if (count - c < TILE_VECTOR) {
            int32_t some[TILE_VECTOR] = {0};
            for (int32_t i = 0; i < count - c; i++) some[i] = to[c + i] = (fresh ? 0 : to[c + i]) + sums[c + i];
            sum = wage_get(some);
        } else {
            if (!fresh) sum = wage_plus(sum, wage_get(to + c));
            wage_put(to + c, sum);
        }
        *largest = wage_max(*largest, wage_size(sum));
    }
}

static int64_t wage_add_wide_row(int64_t *to, const int32_t *sums, int32_t count, int fresh, int64_t largest) {
    for (int32_t c = 0; c < count; c++) {
        const int64_t sum = (fresh ? 0 : to[c]) + sums[c], size = sum < 0 ? -sum : sum;
        to[c] = sum;
        largest = largest < size ? size : largest;
    }
    return largest;
}

static wage_span wage_span_of_both(wage_span a, wage_span b) {
    return (wage_span){a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
}

/* The weights' sums are asked for before the tile that is added to them is computed. */
WAGE_INLINE void wage_prefetch_row(const wage_layer *layer, const void *sums, ptrdiff_t at) {
    const char *row = (const char *)sums + at * (layer->wide_gradient ? 8 : 4);
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + 64, 1);
}

/* The crew's share of a chunk's tiles; returns the largest magnitude of the sums so far. */
static int64_t wage_chunk_tiles(const wage_layer *layer, const wage_chunks *chunks, const wage_chunk *chunk, void *sums,
                                int fresh, const wage_team *crew) {
    int32_t tile[TILE_ROWS * TILE_COLUMNS];
    wage_rows rows;
    const int32_t plane_rows = (chunk->rows - 1) * layer->stride_h + layer->window_h;
    wage_walk walk = {.outer = chunk->images, .groups = chunks->width4,
                      .run = (ptrdiff_t)layer->stride_h * chunks->phase_len,
                      .outer_stride = (ptrdiff_t)plane_rows * chunks->phase_len,
                      .largest = 127 * wage_largest_row(layer)};
    const ptrdiff_t row_bytes = (ptrdiff_t)chunks->width4 * TILE_GROUP;
    for (int32_t i = 0; i < 4; i++) rows.step[i] = chunks->by_taps ? i : i * chunks->plane;
    wage_lanes largest = wage_all(0);
    int64_t first, last, wide = 0;
    wage_share(crew, (int64_t)chunks->blocks * chunks->tiles, 1, &first, &last);
    for (int64_t unit = first; unit < last; unit++) {
        const int32_t block = (int32_t)(chunks->by_rows ? unit % chunks->blocks : unit / chunks->tiles);
        const int32_t quad = (int32_t)(chunks->by_rows ? unit / chunks->blocks : unit % chunks->tiles) * TILE_QUADS;
        const int32_t column = block * TILE_COLUMNS;
        const int32_t width = layer->filters - column < TILE_COLUMNS ? layer->filters - column : TILE_COLUMNS;
        const int32_t taken = chunks->quads - quad < TILE_QUADS ? chunks->quads - quad : TILE_QUADS;
        wage_taps taps[TILE_QUADS];
        wage_span used = {chunk->rows, 0};
        for (int32_t q = 0; q < taken; q++) {
            taps[q] = wage_taps_at(layer, chunks, chunk, quad + q);
            used = wage_span_of_both(used, taps[q].rows);
        }
        if (used.last > chunk->rows) used.last = chunk->rows;
        /* A signed x has 128 added in the border, too, which the start takes back: no row may be missing. */
        if (layer->x_signed || used.first >= used.last) used = (wage_span){0, chunk->rows};
        walk.runs = used.last - used.first;
        walk.unused = (chunk->rows - walk.runs) * row_bytes;
        for (int32_t q = 0; q < taken; q++) {
            rows.quads[q] = chunk->planes + taps[q].in + used.first * walk.run;
            for (int32_t i = 0; !fresh && i < taps[q].count; i++)
                wage_prefetch_row(layer, sums,
                                  (ptrdiff_t)(taps[q].weights + i * taps[q].weights_step) * layer->filters + column);
        }
        wage_tile(taken, width > TILE_VECTOR ? 2 : 1, &rows, &walk,
                  (const int8_t *)chunk->packed + block * chunks->packed_block + used.first * row_bytes,
                  chunk->start + column, tile);
        for (int32_t q = 0; q < taken; q++) {
            for (int32_t i = 0; i < taps[q].count; i++) {
                const int32_t *row = tile + (4 * q + i) * TILE_COLUMNS;
                const ptrdiff_t at = (ptrdiff_t)(taps[q].weights + i * taps[q].weights_step) * layer->filters + column;
                if (layer->wide_gradient)
                    wide = wage_add_wide_row((int64_t *)sums + at, row, width, fresh, wide);
                else
                    wage_add_row((int32_t *)sums + at, row, width, fresh, &largest);
            }
        }
    }
    return layer->wide_gradient ? wide : wage_most(largest);
}

static int64_t wage_weights_count(const wage_layer *layer) {
    return (int64_t)layer->window_h * layer->window_w * layer->channels * layer->filters;
}

static size_t wage_up64(size_t size) { return (size + 63) / 64 * 64; }

static int wage_by_tiles(const wage_chunks *chunks, int32_t threads) {
    return threads == 1 || chunks->blocks * (int64_t)chunks->tiles >= (int64_t)TILES_PER_THREAD * threads;
}

static size_t wage_own_sums(const wage_layer *layer) {
    return wage_up64((size_t)wage_weights_count(layer) * (layer->wide_gradient ? sizeof(int64_t) : sizeof(int32_t)));
}

static size_t wage_gradient_workspace(const wage_layer *layer, int32_t threads) {
    const wage_chunks chunks = wage_chunks_of(layer, layer->batch, NULL, NULL);
    const size_t chunk = wage_up64(wage_chunk_size(layer, &chunks));
    return wage_by_tiles(&chunks, threads) ? chunk : (size_t)threads * (chunk + wage_own_sums(layer));
}

/* This thread's part of the sum over all threads' sums. */
static int64_t wage_add_threads(const wage_layer *layer, const uint8_t *own, size_t stride, void *sums,
                                const wage_team *team) {
    int64_t first, last, largest = 0;
    wage_share(team, wage_weights_count(layer), 16, &first, &last);
    for (int64_t i = first; i < last; i++) {
        int64_t sum = 0;
        for (int32_t thread = 0; thread < team->count; thread++) {
            const void *part = own + thread * stride;
            sum += layer->wide_gradient ? ((const int64_t *)part)[i] : ((const int32_t *)part)[i];
        }
        if (layer->wide_gradient)
            ((int64_t *)sums)[i] = sum;
        else
            ((int32_t *)sums)[i] = (int32_t)sum;
        const int64_t size = sum < 0 ? -sum : sum;
        largest = largest < size ? size : largest;
    }
    return largest;
}

static int64_t wage_linear_gradient(const wage_layer *layer, const wage_image *x, const wage_image *e, void *sums,
                                    int32_t count, void *workspace, const wage_team *team) {
    const wage_chunks chunks = wage_chunks_of(layer, count, x, e);
    const int32_t all = wage_chunks_count(layer, &chunks);
    int64_t largest = 0;
    if (wage_by_tiles(&chunks, team->count)) {
        for (int64_t i = 0; i < all; i++) {
            const wage_chunk chunk = wage_chunk_at(layer, &chunks, i, workspace);
            if (i > 0) wage_wait(team);
            wage_chunk_pack(layer, &chunks, &chunk, x, e, team);
            wage_wait(team);
            largest = wage_chunk_tiles(layer, &chunks, &chunk, sums, i == 0, team);
        }
        return largest;
    }
    const wage_team alone = {0, 1, NULL, NULL};
    const size_t stride = wage_up64(wage_chunk_size(layer, &chunks)) + wage_own_sums(layer);
    uint8_t *own = (uint8_t *)workspace + team->index * stride;
    int64_t first, last;
    wage_share(team, all, 1, &first, &last);
    if (first == last) memset(own, 0, wage_own_sums(layer));
    for (int64_t i = first; i < last; i++) {
        const wage_chunk chunk = wage_chunk_at(layer, &chunks, i, own + wage_own_sums(layer));
        wage_chunk_pack(layer, &chunks, &chunk, x, e, &alone);
        wage_chunk_tiles(layer, &chunks, &chunk, own, i == first, &alone);
    }
    wage_wait(team);
    return wage_add_threads(layer, (uint8_t *)workspace, stride, sums, team);
}

#endif
