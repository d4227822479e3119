/*
 * Forward and error pass of a linear layer as sweeps (wage_sweep.h): geometry and packed weights.
 *
 * With strides s the error pass falls into s_h * s_w phases, pixels whose place is the same modulo the strides: each is a
 * convolution without stride over the errors, by its own part of the flipped window.
 *
 * Packed weights: those of the forward pass, then those of every phase: int32 start[runs][blocks * 32], then the columns.
 */
#ifndef WAGE_LINEAR_H
#define WAGE_LINEAR_H

#include "wage_sweep.h"

/* One axis of a phase: taps first, first + stride, ... (`taps` of them), pixels `pixel`, pixel + stride, ... (`pixels`). */
typedef struct wage_phase {
    int32_t taps, pixel, pixels;
    int32_t error; /* the first pixel's first error: position among the outputs, negative in the border */
} wage_phase;

static wage_phase wage_phase_of(int32_t first, int32_t stride, int32_t window, int32_t pad, int32_t size) {
    wage_phase phase;
    phase.taps = first < window ? wage_ceil(window - first, stride) : 0;
    phase.pixel = ((first - pad) % stride + stride) % stride;
    phase.pixels = phase.pixel < size ? wage_ceil(size - phase.pixel, stride) : 0;
    phase.error = (phase.pixel + pad - first) / stride - phase.taps + 1;
    return phase;
}

static size_t wage_block_bytes(int32_t runs, int32_t run_bytes) {
    return (size_t)runs * wage_ceil(run_bytes, 4) * TILE_GROUP;
}

static size_t wage_columns_size(int32_t count, int32_t runs, int32_t run_bytes) {
    return wage_ceil(count, TILE_COLUMNS) * (wage_block_bytes(runs, run_bytes) + runs * TILE_COLUMNS * sizeof(int32_t));
}

/* Columns laid out at `packed`; returns the first byte behind them. */
static const uint8_t *wage_columns_at(wage_columns *columns, const uint8_t *packed, int32_t count, int32_t runs,
                                      int32_t run_bytes) {
    columns->count = count;
    columns->start = (const int32_t *)(const void *)packed;
    columns->packed = (const int8_t *)(columns->start + (ptrdiff_t)runs * wage_ceil(count, TILE_COLUMNS) * TILE_COLUMNS);
    columns->walk = (wage_walk){.outer = 1, .runs = runs, .groups = wage_ceil(run_bytes, 4)};
    return packed + wage_columns_size(count, runs, run_bytes);
}

/* Whether all positions of a batch are one row. */
static int wage_is_dense(const wage_layer *layer) {
    return layer->out_h == 1 && layer->out_w == 1 && layer->window_h == 1 && layer->window_w == 1;
}

enum { LONGEST_ROW = 65536 /* positions whose products, (127 + 128) * 127 each, an int32 sums */ };

static int wage_linear_takes(const wage_layer *layer) {
    const int32_t row = wage_is_dense(layer) ? layer->batch : layer->out_w;
    const int plain = layer->pool_h == 1 && layer->pool_w == 1;
    const int halved = layer->pool_h == 2 && layer->pool_w == 2;
    return layer->groups == 1 && layer->dilation_h == 1 && layer->dilation_w == 1 && (plain || halved) &&
           layer->shift >= 0 && layer->shift <= SWEEP_LARGEST_SHIFT && layer->pad_top < layer->window_h &&
           layer->pad_left < layer->window_w && (!layer->wide_gradient || row <= LONGEST_ROW);
}

static size_t wage_linear_packed_size(const wage_layer *layer) {
    size_t size = wage_columns_size(layer->filters, layer->window_h, layer->window_w * layer->channels);
    for (int32_t i = 0; i < layer->stride_h; i++) {
        for (int32_t j = 0; j < layer->stride_w; j++) {
            const wage_phase y = wage_phase_of(i, layer->stride_h, layer->window_h, layer->pad_top, layer->in_h);
            const wage_phase x = wage_phase_of(j, layer->stride_w, layer->window_w, layer->pad_left, layer->in_w);
            size += wage_columns_size(layer->channels, y.taps, x.taps * layer->filters);
        }
    }
    return size;
}

/* Columns are filters, k runs over a window's row: the codes' own order. */
static void wage_pack_forward(const wage_layer *layer, const int8_t *codes, const wage_columns *columns,
                              const wage_team *team) {
    const int32_t filters = layer->filters, k = layer->window_w * layer->channels;
    const ptrdiff_t run_bytes = (ptrdiff_t)columns->walk.groups * TILE_GROUP, block_bytes = layer->window_h * run_bytes;
    int64_t first, last;
    wage_share(team, filters, TILE_COLUMNS, &first, &last);
    for (int32_t run = 0; run < layer->window_h; run++) {
        int32_t *start = (int32_t *)columns->start + (ptrdiff_t)run * wage_ceil(filters, TILE_COLUMNS) * TILE_COLUMNS;
        memset(start + first, 0, (size_t)((last - first + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS) * sizeof *start);
        for (int32_t i = 0; layer->x_signed && i < k; i++)
            for (int64_t c = first; c < last; c++)
                start[c] -= WAGE_ZERO * codes[((ptrdiff_t)run * k + i) * filters + c];
    }
    for (int32_t run = 0; run < layer->window_h; run++)
        wage_pack_columns((const uint8_t *)codes + (ptrdiff_t)run * k * filters + first, filters, k,
                          (int32_t)(last - first), 0,
                          (uint8_t *)columns->packed + first / TILE_COLUMNS * block_bytes + run * run_bytes, block_bytes);
}

/* Columns are channels, k runs over a flipped window's row of taps and, within a tap, over the filters. */
static void wage_pack_phase(const wage_layer *layer, const int8_t *codes, int32_t tap_y, int32_t tap_x, int32_t taps,
                            const wage_columns *columns, const wage_team *team) {
    const int32_t filters = layer->filters, channels = layer->channels, runs = columns->walk.runs;
    const ptrdiff_t run_bytes = (ptrdiff_t)columns->walk.groups * TILE_GROUP;
    const ptrdiff_t padded = (ptrdiff_t)wage_ceil(channels, TILE_COLUMNS) * TILE_COLUMNS;
    int32_t *start = (int32_t *)columns->start;
    int64_t first, last;
    wage_share(team, wage_ceil(channels, TILE_COLUMNS), 1, &first, &last);
    for (int64_t block = first; block < last; block++) {
        const int32_t channel = (int32_t)block * TILE_COLUMNS;
        const int32_t count = channels - channel < TILE_COLUMNS ? channels - channel : TILE_COLUMNS;
        uint8_t *packed = (uint8_t *)columns->packed + block * runs * run_bytes;
        for (int32_t run = 0; run < runs; run++) memset(start + run * padded + channel, 0, TILE_COLUMNS * sizeof *start);
        if (filters % 4) memset(packed, 0, (size_t)(runs * run_bytes));
        for (int32_t i = 0; i < runs * taps; i++) {
            const int32_t run = i / taps, tap = i % taps;
            const ptrdiff_t y = tap_y + (ptrdiff_t)(runs - 1 - run) * layer->stride_h;
            const ptrdiff_t x = tap_x + (ptrdiff_t)(taps - 1 - tap) * layer->stride_w;
            const int8_t *matrix = codes + ((y * layer->window_w + x) * channels + channel) * filters;
            uint8_t *to = packed + run * run_bytes;
            if (filters % 4 == 0) {
                wage_pack_turned((const uint8_t *)matrix, filters, filters, count, to + (ptrdiff_t)tap * filters / 4 * TILE_GROUP);
            } else {
                for (int32_t c = 0; c < count; c++)
                    for (int32_t f = 0, k = tap * filters; f < filters; f++, k++)
                        to[k / 4 * TILE_GROUP + 4 * c + k % 4] = (uint8_t)matrix[(ptrdiff_t)c * filters + f];
            }
            for (int32_t c = 0; c < count; c++)
                start[run * padded + channel + c] += WAGE_ZERO * wage_minus_sum(matrix + (ptrdiff_t)c * filters, filters);
        }
    }
}

static void wage_linear_pack(const wage_layer *layer, const void *codes, void *packed, int32_t training,
                             const wage_team *team) {
    wage_columns columns;
    const uint8_t *at = wage_columns_at(&columns, packed, layer->filters, layer->window_h, layer->window_w * layer->channels);
    wage_pack_forward(layer, codes, &columns, team);
    for (int32_t i = 0; training && i < layer->stride_h; i++) {
        for (int32_t j = 0; j < layer->stride_w; j++) {
            const wage_phase y = wage_phase_of(i, layer->stride_h, layer->window_h, layer->pad_top, layer->in_h);
            const wage_phase x = wage_phase_of(j, layer->stride_w, layer->window_w, layer->pad_left, layer->in_w);
            at = wage_columns_at(&columns, at, layer->channels, y.taps, x.taps * layer->filters);
            wage_pack_phase(layer, codes, i, j, x.taps, &columns, team);
        }
    }
}

/* A single position per image (dense layers): the images are the positions of one row. */
static void wage_grid_of_images(wage_grid *grid) {
    if (grid->height != 1 || grid->width != 1) return;
    grid->width = grid->count;
    grid->count = 1;
    grid->pixel = grid->image;
    grid->out_pixel = grid->out_image;
    grid->dense_pixel = grid->dense_image;
}

/* The largest byte of an input. */
static int32_t wage_largest_row(const wage_layer *layer) {
    return layer->x_signed ? 127 + WAGE_ZERO : 127;
}

/* The signed input with 128 added, borders included: bytes of an image and of its rows. */
static ptrdiff_t wage_signed_row(const wage_layer *layer) {
    return (ptrdiff_t)((layer->out_w - 1) * layer->stride_w + layer->window_w) * layer->channels;
}

static ptrdiff_t wage_signed_image(const wage_layer *layer) {
    return ((layer->out_h - 1) * layer->stride_h + layer->window_h) * wage_signed_row(layer);
}

/* Errors with a border as wide as the phases need: what stands before and after them along one axis. */
static void wage_error_border(int32_t stride, int32_t window, int32_t pad, int32_t in, int32_t out, int32_t *before,
                              int32_t *size) {
    const int32_t reached = (in - 1 + pad) / stride;
    *before = wage_ceil(window, stride) - 1;
    *size = *before + (reached + 1 > out ? reached + 1 : out);
}

static ptrdiff_t wage_error_sizes(const wage_layer *layer, int32_t *top, int32_t *left, ptrdiff_t *row) {
    int32_t height, width;
    wage_error_border(layer->stride_h, layer->window_h, layer->pad_top, layer->in_h, layer->out_h, top, &height);
    wage_error_border(layer->stride_w, layer->window_w, layer->pad_left, layer->in_w, layer->out_w, left, &width);
    *row = (ptrdiff_t)width * layer->filters;
    return height * *row;
}

enum {
    WAGE_READ_BEYOND = 64,
    PHASES_NEAR = 1 << 16 /* sums of a thread over which phases go one after another: what the nearest caches hold */
};

static size_t wage_linear_workspace(const wage_layer *layer) {
    size_t forward = 0, error = 0;
    if (WAGE_ZERO && layer->x_signed) forward = (size_t)layer->batch * wage_signed_image(layer) + WAGE_READ_BEYOND;
    if (layer->stride_h > 1 || layer->stride_w > 1) {
        int32_t top, left;
        ptrdiff_t row;
        error = (size_t)layer->batch * wage_error_sizes(layer, &top, &left, &row) + WAGE_READ_BEYOND;
    }
    return forward > error ? forward : error;
}

static void wage_linear_forward(const wage_layer *layer, const void *packed, const wage_image *x, const wage_image *y,
                                uint8_t *gate, int32_t count, void *workspace, const wage_team *team) {
    const int32_t pooled = layer->pool_h == 2;
    wage_image in = *x;
    in.data = (uint8_t *)x->data - layer->pad_top * x->row - (ptrdiff_t)layer->pad_left * layer->channels;
    if (WAGE_ZERO && layer->x_signed) {
        const wage_image copy = {workspace, wage_signed_row(layer), wage_signed_image(layer)};
        const int64_t height = copy.image / copy.row;
        int64_t first, last;
        wage_share(team, height * count, 1, &first, &last);
        for (int64_t i = first; i < last; i++)
            wage_copy_row((uint8_t *)workspace + i * copy.row, (const uint8_t *)in.data + i / height * in.image + i % height * in.row,
                          copy.row, WAGE_ZERO);
        wage_wait(team);
        in = copy;
    }
    wage_grid grid = {
        .rows = in.data, .image = in.image, .row = in.row * layer->stride_h, .pixel = (ptrdiff_t)layer->stride_w * layer->channels,
        .count = count, .height = layer->out_h, .width = layer->out_w, .pooled = pooled, .top = -layer->pad_top,
        .stride = layer->stride_h, .inside = layer->in_h, .out_pixel = layer->filters};
    if (pooled) {
        grid.height /= 2;
        grid.width /= 2;
        grid.row *= 2;
        grid.pixel *= 2;
    }
    grid.dense_pixel = layer->filters;
    grid.dense_row = (ptrdiff_t)grid.width * layer->filters;
    grid.dense_image = grid.height * grid.dense_row;
    grid.out_row = layer->output == WAGE_CODES ? y->row : grid.dense_row;
    grid.out_image = layer->output == WAGE_CODES ? y->image : grid.dense_image;
    if (!pooled) wage_grid_of_images(&grid);
    wage_columns columns;
    wage_columns_at(&columns, packed, layer->filters, layer->window_h, layer->window_w * layer->channels);
    columns.walk.run = in.row;
    columns.walk.largest = wage_largest_row(layer) * layer->w_limit;
    const wage_sink sink = {layer, y->data, layer->output == WAGE_CODES ? gate : NULL, layer->output == WAGE_CODES, NULL};
    wage_sweep(&grid, &columns, &sink, team);
}

/* Errors of strided layers are copied into a border of their own. */
static wage_image wage_bordered_errors(const wage_layer *layer, const wage_image *e, int32_t count, uint8_t *workspace,
                                       const wage_team *team) {
    int32_t top, left;
    wage_image copy;
    copy.image = wage_error_sizes(layer, &top, &left, &copy.row);
    copy.data = workspace + top * copy.row + (ptrdiff_t)left * layer->filters;
    const int64_t height = copy.image / copy.row;
    int64_t first, last;
    wage_share(team, height * count, 1, &first, &last);
    for (int64_t i = first; i < last; i++) {
        const int64_t y = i % height - top;
        memset(workspace + i * copy.row, WAGE_ZERO, (size_t)copy.row);
        if (y >= 0 && y < layer->out_h)
            memcpy(workspace + i * copy.row + (ptrdiff_t)left * layer->filters,
                   (const uint8_t *)e->data + i / height * e->image + y * e->row, (size_t)layer->out_w * layer->filters);
    }
    wage_wait(team);
    return copy;
}

/* The pixels of a phase; the number of images and where they begin are the caller's. */
static wage_grid wage_phase_grid(const wage_layer *layer, const wage_image *e, const wage_phase *y, const wage_phase *x) {
    wage_grid grid = {
        .rows = (const uint8_t *)e->data + y->error * e->row + (ptrdiff_t)x->error * layer->filters,
        .image = e->image, .row = e->row, .pixel = layer->filters,
        .height = y->pixels, .width = x->pixels, .top = y->error, .stride = 1, .inside = layer->out_h,
        .out_pixel = (ptrdiff_t)layer->stride_w * layer->channels,
        .out_row = (ptrdiff_t)layer->stride_h * layer->in_w * layer->channels,
        .out_image = (ptrdiff_t)layer->in_h * layer->in_w * layer->channels};
    grid.dense_pixel = grid.out_pixel;
    grid.dense_row = grid.out_row;
    grid.dense_image = grid.out_image;
    return grid;
}

static int64_t wage_linear_error(const wage_layer *layer, const void *packed, const wage_image *e, void *sums,
                                 const uint8_t *gate, int32_t count, void *workspace, const wage_team *team) {
    wage_image in = *e;
    if (layer->stride_h > 1 || layer->stride_w > 1) in = wage_bordered_errors(layer, e, count, workspace, team);
    int32_t largest[TILE_VECTOR] = {0};
    const ptrdiff_t image = (ptrdiff_t)layer->in_h * layer->in_w * layer->channels;
    const int64_t near = (int64_t)PHASES_NEAR * team->count / image;
    const int32_t together = layer->stride_h * layer->stride_w == 1 || near > count ? count : near > 1 ? (int32_t)near : 1;
    for (int32_t n = 0; n < count; n += together) {
        const uint8_t *at = (const uint8_t *)packed +
                            wage_columns_size(layer->filters, layer->window_h, layer->window_w * layer->channels);
        for (int32_t i = 0; i < layer->stride_h; i++) {
            for (int32_t j = 0; j < layer->stride_w; j++) {
                const wage_phase y = wage_phase_of(i, layer->stride_h, layer->window_h, layer->pad_top, layer->in_h);
                const wage_phase x = wage_phase_of(j, layer->stride_w, layer->window_w, layer->pad_left, layer->in_w);
                wage_columns columns;
                at = wage_columns_at(&columns, at, layer->channels, y.taps, x.taps * layer->filters);
                columns.walk.run = in.row;
                columns.walk.largest = (127 + WAGE_ZERO) * layer->w_limit;
                wage_grid grid = wage_phase_grid(layer, &in, &y, &x);
                grid.rows += n * in.image;
                grid.out = grid.dense = n * image + ((ptrdiff_t)y.pixel * layer->in_w + x.pixel) * layer->channels;
                grid.count = count - n < together ? count - n : together;
                if (y.pixels == 0 || x.pixels == 0) continue;
                wage_grid_of_images(&grid);
                const wage_sink sink = {layer, sums, (uint8_t *)(uintptr_t)gate, 0, largest};
                wage_sweep(&grid, &columns, &sink, team);
            }
        }
    }
    return wage_most(wage_get(largest));
}

#endif
