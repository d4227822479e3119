/*
 * What passes over tensors once: Q_E with ReLU's mask and the pool's spread, and the update. Plain loops that the compiler
 * vectorizes for the instruction set of the file that includes them.
 */
#ifndef WAGE_ROUND_H
#define WAGE_ROUND_H

#include "wage_linear.h"

enum {
    ROUND_PIECE = 1024,
    WAGE_PLACES = (uint8_t)(0xFF << WAGE_GATE_PLACE),
    UPDATE_LARGEST = 1 << 28 /* bounds of the update's clip and steps below which its sums fit in int32 */
};

/* clip(round_half_even(x / 2^shift), +-limit) + 128, or 128 where the gate is shut. Magnitudes are rounded, which do not
 * overflow in 32 bits. */
WAGE_INLINE void wage_round_row(const wage_rounding *rounding, const int32_t *sums, const uint8_t *gate, int64_t size,
                                uint8_t *errors) {
    const int32_t shift = rounding->shift > 0 ? rounding->shift : 0, left = rounding->shift < 0 ? -rounding->shift : 0;
    const uint32_t half = shift ? (UINT32_C(1) << (shift - 1)) - 1 : 0, tie = shift ? 1 : 0;
    const uint32_t limit = (uint32_t)rounding->limit;
    for (int64_t i = 0; i < size; i++) {
        const uint32_t sign = (uint32_t)(sums[i] >> 31), magnitude = (((uint32_t)sums[i] ^ sign) - sign) << left;
        uint32_t code = (magnitude + half + (magnitude >> shift & tie)) >> shift;
        code = code > limit ? limit : code;
        code = (code ^ sign) - sign;
        if (gate) code = gate[i] & WAGE_GATE_OPEN ? code : 0;
        errors[i] = (uint8_t)(code + WAGE_ZERO);
    }
}

/* The codes whose maximum was at this place of the pool's window, WAGE_ZERO for the others. */
WAGE_INLINE void wage_spread_row(const uint8_t *restrict codes, const uint8_t *restrict gate, uint8_t place, int32_t size,
                                 uint8_t *restrict to) {
    int32_t c = 0;
    for (; c + 16 <= size; c += 16) {
        for (int32_t i = c; i < c + 16; i++) {
            const uint8_t same = (uint8_t)-((gate[i] & WAGE_PLACES) == place);
            to[i] = (uint8_t)(((codes[i] ^ WAGE_ZERO) & same) ^ WAGE_ZERO);
        }
    }
    for (; c < size; c++) to[c] = (gate[c] & WAGE_PLACES) == place ? codes[c] : WAGE_ZERO;
}

/* One row of a pooled image, rounded in pieces: every place of a window gets the codes of the channels whose maximum it was. */
static void wage_spread(const wage_layer *layer, const wage_rounding *rounding, const int32_t *sums, const uint8_t *gate,
                        int64_t size, uint8_t *errors, ptrdiff_t row) {
    uint8_t codes[ROUND_PIECE];
    for (int64_t first = 0, end; first < size; first = end) {
        end = first + ROUND_PIECE < size ? first + ROUND_PIECE : size;
        wage_round_row(rounding, sums + first, gate + first, end - first, codes);
        for (int64_t at = first, step; at < end; at += step) {
            const int64_t x = at / layer->filters, c = at % layer->filters;
            step = layer->filters - c < end - at ? layer->filters - c : end - at;
            for (int32_t place = 0; place < layer->pool_h * layer->pool_w; place++) {
                uint8_t *to = errors + place / layer->pool_w * row +
                              (x * layer->pool_w + place % layer->pool_w) * layer->filters + c;
                wage_spread_row(codes + (at - first), gate + at, (uint8_t)(place << WAGE_GATE_PLACE), (int32_t)step, to);
            }
        }
    }
}

static void wage_linear_round_errors(const wage_layer *layer, const wage_rounding *rounding, const void *sums,
                                     const uint8_t *gate, const wage_image *e, int32_t count, const wage_team *team) {
    const int32_t height = layer->out_h / layer->pool_h, width = layer->out_w / layer->pool_w;
    const int32_t bands = wage_ceil(layer->out_h, layer->pool_h);
    const int64_t size = (int64_t)width * layer->filters;
    const size_t rest = (size_t)(layer->out_w % layer->pool_w) * layer->filters;
    int64_t first, last;
    wage_share(team, (int64_t)count * bands, 1, &first, &last);
    for (int64_t i = first; i < last; i++) {
        const int32_t y = (int32_t)(i % bands);
        const int64_t from = (i / bands * height + y) * size;
        const int32_t *row = (const int32_t *)sums + from;
        uint8_t *errors = (uint8_t *)e->data + i / bands * e->image + (ptrdiff_t)y * layer->pool_h * e->row;
        if (layer->pool_h * layer->pool_w == 1) {
            if (gate)
                wage_round_row(rounding, row, gate + from, size, errors);
            else
                wage_round_row(rounding, row, NULL, size, errors);
            continue;
        }
        for (int32_t line = 0; line < layer->pool_h && y * layer->pool_h + line < layer->out_h; line++)
            memset(errors + line * e->row + (y < height ? (size_t)layer->pool_w * size : 0), WAGE_ZERO,
                   y < height ? rest : (size_t)layer->out_w * layer->filters);
        if (y < height) wage_spread(layer, rounding, row, gate + from, size, errors, e->row);
    }
}

/* Elements [first, last) of the update, for one type of stored weights. */
#define WAGE_DEFINE_UPDATE(NAME, TYPE)                                                                                  static void NAME(const wage_rate *rate, const int32_t *restrict sums, TYPE *restrict stored,                                         int8_t *restrict codes, int64_t first, int64_t last) {                                                 const uint32_t keys[2] = {rate->keys[0], rate->keys[1]};                                                            const int32_t shift = rate->shift, width = rate->random_width, grid = rate->grid, limit = rate->limit;              const int32_t right = shift > width ? shift - width : 0, left = shift > width ? 0 : width - shift;                  const uint32_t mask = (UINT32_C(1) << shift) - 1, up = (UINT32_C(1) << right) - 1;                                  const uint32_t most = ((uint32_t)limit * 2 >> grid) + 1;                                                            const int32_t code_shift = rate->code_shift, code_limit = rate->code_limit;                                         const int32_t half = code_shift ? (1 << (code_shift - 1)) - 1 : 0, tie = code_shift ? 1 : 0;                        for (int64_t i = first; i < last; i++) {                                                                                const uint32_t sign = (uint32_t)(sums[i] >> 31), size = ((uint32_t)sums[i] ^ sign) - sign;                          const uint32_t bound = ((size & mask) + up) >> right << left;                                                       uint32_t steps = (size >> shift) + (wage_random(keys, (uint32_t)i, width) < bound);                                 steps = steps > most ? most : steps;                                                                                int32_t weight = stored[i] - (int32_t)((steps << grid ^ sign) - sign);                                              weight = weight > limit ? limit : weight < -limit ? -limit : weight;                                                int32_t code = (weight + half + (weight >> code_shift & tie)) >> code_shift;                                        code = code > code_limit ? code_limit : code < -code_limit ? -code_limit : code;                                    stored[i] = (TYPE)weight;                                                                                           codes[i] = (int8_t)(code_limit ? code : weight < 0 ? -1 : 1);                                                   }                                                                                                               }
WAGE_DEFINE_UPDATE(wage_update_8, int8_t)
WAGE_DEFINE_UPDATE(wage_update_16, int16_t)
WAGE_DEFINE_UPDATE(wage_update_32, int32_t)

/* Rates whose steps need more than 32 bits are the portable kernels'. */
static void wage_linear_update(const wage_rate *rate, const void *sums, int32_t wide_sums, void *stored,
                               int32_t stored_bytes, void *codes, int64_t size, const wage_team *team) {
    if (wide_sums || rate->shift < 1 || rate->shift > 31 || rate->limit > UPDATE_LARGEST || rate->grid > 24) {
        wage_portable.update(rate, sums, wide_sums, stored, stored_bytes, codes, size, team);
        return;
    }
    int64_t first, last;
    wage_share(team, size, 64, &first, &last);
    switch (stored_bytes) {
    case 1: wage_update_8(rate, sums, stored, codes, first, last); break;
    case 2: wage_update_16(rate, sums, stored, codes, first, last); break;
    default: wage_update_32(rate, sums, stored, codes, first, last); break;
    }
}

#endif
