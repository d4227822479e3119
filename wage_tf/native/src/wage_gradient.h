/*
 * The gradient of a linear layer's weights: sums of x * e over positions, chunk by chunk.
 *
 * A row of the tile is a channel seen from a tap of the window, its plane read from where the tap begins, so that every
 * byte of x is stored once for all taps.
 *
 * A team shares the tiles of every chunk; where there are too few of them (a first layer), each thread takes chunks of its
 * own and the sums are added up at the end.
 */
#ifndef WAGE_GRADIENT_H
#define WAGE_GRADIENT_H

#include "wage_chunks.h"

enum { TILES_PER_THREAD = 6 /* fewer, and threads take chunks instead of tiles */ };

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
