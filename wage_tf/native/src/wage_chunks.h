/*
 * Positions of a layer in chunks, as its gradient takes them through the workspace.
 *
 * x lies there as one plane per channel (with strides, one per phase of columns), e as columns by fours of positions. Rows
 * of positions are filled up to fours with errors of 0.
 */
#ifndef WAGE_CHUNKS_H
#define WAGE_CHUNKS_H

#include "wage_linear.h"

enum {
    CHUNK_POSITIONS = 4096, /* as many as make loading and storing a tile's sums cheap, few enough for the nearest caches */
    COLUMNS_NEAR = 1 << 18  /* bytes of e's columns that the nearest caches hold: then sums are gone through in order */
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
    const int single = wage_is_dense(layer);
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

#endif
