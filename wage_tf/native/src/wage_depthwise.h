/*
 * Depthwise convolutions, every channel with a filter of its own: plain loops over up to 64 lanes, which the compiler
 * vectorizes for the instruction set of the file that includes this one.
 *
 * Lanes are the channels of a pixel; with strides of 1 and few channels those of `pixels` neighbours, which lie side by side
 * in x, in e and in the output alike, under weights that repeat pixel by pixel. Packed weights: int8 [taps][pixels][channels].
 * The products of two bytes and two bytes, added, fit in int16; more are added in int32.
 */
#ifndef WAGE_DEPTHWISE_H
#define WAGE_DEPTHWISE_H

#include "wage_nodes.h"

enum { DEPTH_LANES = 64, DEPTH_TAPS = 128 };

static int wage_is_depthwise(const wage_layer *layer) {
    return layer->groups > 1 && layer->channels == layer->groups && layer->filters == layer->groups;
}

static int wage_depth_takes(const wage_layer *layer) {
    const int inside = layer->pad_top <= layer->dilation_h * (layer->window_h - 1) &&
                       layer->pad_left <= layer->dilation_w * (layer->window_w - 1);
    return wage_is_depthwise(layer) && layer->window_h * layer->window_w <= DEPTH_TAPS && layer->pool_h == 1 &&
           layer->pool_w == 1 && !layer->wide_gradient && inside;
}

static int wage_has_strides(const wage_layer *layer) {
    return layer->stride_h > 1 || layer->stride_w > 1;
}

static int32_t wage_depth_pixels(const wage_layer *layer) {
    return wage_has_strides(layer) || layer->channels >= DEPTH_LANES ? 1 : DEPTH_LANES / layer->channels;
}

static ptrdiff_t wage_depth_pitch(const wage_layer *layer) {
    return (ptrdiff_t)wage_depth_pixels(layer) * layer->channels;
}

static size_t wage_depth_packed_size(const wage_layer *layer) {
    return (size_t)layer->window_h * layer->window_w * wage_depth_pitch(layer);
}

/* A gradient's sums of every thread, int32 in the layout of the packed weights. */
static size_t wage_depth_workspace_size(const wage_layer *layer, int32_t threads) {
    return threads * wage_depth_packed_size(layer) * sizeof(int32_t);
}

static void wage_depth_pack(const wage_layer *layer, const void *codes, void *packed, const wage_team *team) {
    int64_t first, last;
    wage_share(team, (int64_t)layer->window_h * layer->window_w * wage_depth_pixels(layer), 1, &first, &last);
    for (int64_t i = first; i < last; i++)
        memcpy((int8_t *)packed + i * layer->channels,
               (const int8_t *)codes + i / wage_depth_pixels(layer) * layer->channels, (size_t)layer->channels);
}

/* sums[i] += a0[i] * b0[i] and, where `both`, a1[i] * b1[i]; `zero` has been added to b. `zero` and, for most calls, `lanes`
 * are constants where it is inlined. */
WAGE_INLINE void wage_depth_add(const int8_t *a0, const uint8_t *b0, const int8_t *a1, const uint8_t *b1, const int16_t both,
                                const int32_t zero, const int32_t lanes, int32_t *restrict sums) {
    for (int32_t i = 0; i < lanes; i++) {
        const int16_t first = (int16_t)(a0[i] * (int16_t)(zero ? b0[i] - zero : (int8_t)b0[i]));
        const int16_t second = (int16_t)(a1[i] * (int16_t)(zero ? b1[i] - zero : (int8_t)b1[i]));
        sums[i] += (int16_t)(first + (int16_t)(second * both));
    }
}

/* The taps of one output: where each reads, in bytes from its first lane, and its weights. */
typedef struct wage_depth_taps {
    int32_t count;
    ptrdiff_t in[DEPTH_TAPS], weights[DEPTH_TAPS];
} wage_depth_taps;

/* All lanes of a block: more than there are read what is beside the image, and are left out afterwards. */
#define WAGE_DEFINE_DEPTH_SUMS(NAME, ZERO)                                                                            \
    static __attribute__((noinline)) void NAME(const wage_depth_taps *taps, const uint8_t *in, const int8_t *weights, \
                                               int32_t *restrict sums) {                                              \
        for (int32_t i = 0; i < DEPTH_LANES; i++) sums[i] = 0;                                                        \
        for (int32_t t = 0; t < taps->count; t += 2) {                                                                \
            const int both = t + 1 < taps->count;                                                                     \
            wage_depth_add(weights + taps->weights[t], in + taps->in[t], weights + taps->weights[t + both],           \
                           in + taps->in[t + both], (int16_t)both, ZERO, DEPTH_LANES, sums);                          \
        }                                                                                                             \
    }
WAGE_DEFINE_DEPTH_SUMS(wage_depth_outputs, 0)
WAGE_DEFINE_DEPTH_SUMS(wage_depth_errors, WAGE_ZERO)

/* ReLU, the gate and Q_A of a block, or its sums. */
WAGE_INLINE void wage_depth_emit(const wage_layer *layer, const wage_node_rounder rounder, int32_t *sums,
                                 const int32_t lanes, void *out, uint8_t *gate) {
    int8_t codes[DEPTH_LANES];
    if (layer->output == WAGE_SUMS) {
        memcpy(out, sums, (size_t)lanes * sizeof *sums);
        return;
    }
    const int32_t least = layer->relu ? 0 : INT32_MIN;
    for (int32_t i = 0; i < lanes; i++) sums[i] = sums[i] < least ? least : sums[i];
    if (gate) wage_node_gates(layer, sums, lanes, gate);
    for (int32_t i = 0; i < lanes; i++) codes[i] = (int8_t)wage_node_rounded(&rounder, sums[i]);
    memcpy(out, codes, (size_t)lanes);
}

static void wage_depth_forward(const wage_layer *layer, const void *packed, const wage_image *x, const wage_image *y,
                               uint8_t *gate, int32_t count, const wage_team *team) {
    const wage_node_rounder rounder = wage_node_rounder_of(layer->shift, layer->limit);
    const ptrdiff_t pitch = wage_depth_pitch(layer);
    const int32_t pixels = wage_depth_pixels(layer);
    const int dense = layer->output == WAGE_SUMS;
    const size_t bytes = dense ? sizeof(int32_t) : 1;
    wage_depth_taps taps = {.count = layer->window_h * layer->window_w};
    for (int32_t t = 0; t < taps.count; t++) {
        taps.in[t] = (t / layer->window_w * layer->dilation_h - layer->pad_top) * x->row +
                     (ptrdiff_t)(t % layer->window_w * layer->dilation_w - layer->pad_left) * layer->channels;
        taps.weights[t] = t * pitch;
    }
    int64_t first, last;
    wage_share(team, (int64_t)count * layer->out_h, 1, &first, &last);
    for (int64_t line = first; line < last; line++) {
        const int64_t n = line / layer->out_h, row = line % layer->out_h;
        const uint8_t *in = (const uint8_t *)x->data + n * x->image + row * layer->stride_h * x->row;
        const ptrdiff_t begin = dense ? (ptrdiff_t)line * layer->out_w * layer->channels : n * y->image + row * y->row;
        uint8_t *out = (uint8_t *)y->data + (size_t)begin * bytes;
        for (int32_t column = 0; column < layer->out_w; column += pixels) {
            const ptrdiff_t at = (ptrdiff_t)column * layer->channels, left = (ptrdiff_t)layer->out_w * layer->channels - at;
            const ptrdiff_t run = left < pitch ? left : pitch;
            for (ptrdiff_t lane = 0; lane < run; lane += DEPTH_LANES) {
                const int32_t lanes = run - lane < DEPTH_LANES ? (int32_t)(run - lane) : DEPTH_LANES;
                int32_t sums[DEPTH_LANES];
                wage_depth_outputs(&taps, in + at * layer->stride_w + lane, (const int8_t *)packed + lane, sums);
                wage_depth_emit(layer, rounder, sums, lanes, out + (size_t)(at + lane) * bytes,
                                gate ? gate + line * layer->out_w * layer->channels + at + lane : NULL);
            }
        }
    }
}

/* The taps whose window has an output there, for the input's pixel (y, x). With strides of 1 those beyond the outputs are
 * there too, in the border of e. */
static void wage_depth_errors_at(const wage_layer *layer, const wage_image *e, int32_t y, int32_t x, wage_depth_taps *taps) {
    const int bordered = !wage_has_strides(layer);
    taps->count = 0;
    for (int32_t t = 0; t < layer->window_h * layer->window_w; t++) {
        const int32_t top = y + layer->pad_top - t / layer->window_w * layer->dilation_h;
        const int32_t left = x + layer->pad_left - t % layer->window_w * layer->dilation_w;
        const int32_t row = top / layer->stride_h, column = left / layer->stride_w;
        if (!bordered && (top < 0 || left < 0 || top % layer->stride_h || left % layer->stride_w || row >= layer->out_h ||
                          column >= layer->out_w))
            continue;
        taps->in[taps->count] = row * e->row + (ptrdiff_t)column * layer->channels;
        taps->weights[taps->count++] = t * wage_depth_pitch(layer);
    }
}

static int64_t wage_depth_error(const wage_layer *layer, const void *packed, const wage_image *e, int32_t *sums,
                                const uint8_t *gate, int32_t count, const wage_team *team) {
    const ptrdiff_t pitch = wage_depth_pitch(layer);
    const int32_t pixels = wage_depth_pixels(layer);
    const int strided = wage_has_strides(layer);
    wage_depth_taps taps;
    int32_t largest = 0;
    int64_t first, last;
    wage_depth_errors_at(layer, e, 0, 0, &taps);
    wage_share(team, (int64_t)count * layer->in_h, 1, &first, &last);
    for (int64_t line = first; line < last; line++) {
        const int64_t n = line / layer->in_h, row = line % layer->in_h;
        const uint8_t *in = (const uint8_t *)e->data + n * e->image + (strided ? 0 : row * e->row);
        for (int32_t column = 0; column < layer->in_w; column += pixels) {
            const ptrdiff_t at = (ptrdiff_t)column * layer->channels, left = (ptrdiff_t)layer->in_w * layer->channels - at;
            const ptrdiff_t run = left < pitch ? left : pitch;
            if (strided) wage_depth_errors_at(layer, e, (int32_t)row, column, &taps);
            for (ptrdiff_t lane = 0; lane < run; lane += DEPTH_LANES) {
                const int32_t lanes = run - lane < DEPTH_LANES ? (int32_t)(run - lane) : DEPTH_LANES;
                const ptrdiff_t to = line * layer->in_w * layer->channels + at + lane;
                int32_t block[DEPTH_LANES];
                wage_depth_errors(&taps, in + (strided ? 0 : at) + lane, (const int8_t *)packed + lane, block);
                const int32_t size = wage_node_mask(gate ? gate + to : NULL, 0, lanes, block);
                memcpy(sums + to, block, (size_t)lanes * sizeof *block);
                largest = largest < size ? size : largest;
            }
        }
    }
    return largest;
}

/* sums[i] += the products of x and e over the rows of an image, for one tap and a block of lanes. */
WAGE_INLINE void wage_depth_rows(const uint8_t *x, ptrdiff_t x_row, const uint8_t *e, ptrdiff_t e_row, int32_t rows,
                                 const int32_t lanes, int32_t *restrict sums) {
    for (int32_t row = 0; row < rows; row += 2) {
        const int both = row + 1 < rows;
        const int8_t *in = (const int8_t *)x + row * x_row;
        const uint8_t *errors = e + row * e_row;
        wage_depth_add(in, errors, in + both * x_row, errors + both * e_row, (int16_t)both, WAGE_ZERO, lanes, sums);
    }
}

static int64_t wage_depth_gradient(const wage_layer *layer, const wage_image *x, const wage_image *e, int32_t *sums,
                                   int32_t count, int32_t *workspace, const wage_team *team) {
    const int32_t taps = layer->window_h * layer->window_w, pixels = wage_depth_pixels(layer);
    const ptrdiff_t pitch = wage_depth_pitch(layer);
    int32_t *own = workspace + team->index * taps * pitch;
    int64_t first, last, largest = 0;
    memset(own, 0, (size_t)(taps * pitch) * sizeof *own);
    wage_share(team, count, 1, &first, &last);
    for (int64_t n = first; n < last; n++) {
        for (int32_t column = 0; column < layer->out_w; column += pixels) {
            const ptrdiff_t at = (ptrdiff_t)column * layer->channels, left = (ptrdiff_t)layer->out_w * layer->channels - at;
            const ptrdiff_t run = left < pitch ? left : pitch;
            for (int32_t t = 0; t < taps; t++) {
                const uint8_t *in = (const uint8_t *)x->data + n * x->image + at * layer->stride_w +
                                    (t / layer->window_w * layer->dilation_h - layer->pad_top) * x->row +
                                    (ptrdiff_t)(t % layer->window_w * layer->dilation_w - layer->pad_left) * layer->channels;
                const uint8_t *errors = (const uint8_t *)e->data + n * e->image + at;
                for (ptrdiff_t lane = 0; lane < run; lane += DEPTH_LANES) {
                    const int32_t lanes = run - lane < DEPTH_LANES ? (int32_t)(run - lane) : DEPTH_LANES;
                    int32_t *to = own + t * pitch + lane;
                    if (lanes == DEPTH_LANES)
                        wage_depth_rows(in + lane, layer->stride_h * x->row, errors + lane, e->row, layer->out_h, DEPTH_LANES, to);
                    else
                        wage_depth_rows(in + lane, layer->stride_h * x->row, errors + lane, e->row, layer->out_h, lanes, to);
                }
            }
        }
    }
    wage_wait(team);
    wage_share(team, (int64_t)taps * layer->channels, 16, &first, &last);
    for (int64_t i = first; i < last; i++) {
        const int32_t *from = workspace + i / layer->channels * pitch + i % layer->channels;
        int32_t sum = 0;
        for (int32_t thread = 0; thread < team->count; thread++)
            for (int32_t pixel = 0; pixel < pixels; pixel++) sum += from[thread * taps * pitch + pixel * layer->channels];
        sums[i] = sum;
        if (wage_magnitude(sum) > largest) largest = wage_magnitude(sum);
    }
    return largest;
}

#endif
