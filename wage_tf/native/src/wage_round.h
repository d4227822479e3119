/*
 * What passes over tensors once: Q_E with ReLU's mask and the pool's spread, and the update, a plain loop that the compiler
 * vectorizes for the instruction set of the file that includes it.
 */
#ifndef WAGE_ROUND_H
#define WAGE_ROUND_H

#include "wage_linear.h"

enum { UPDATE_LARGEST = 1 << 28 /* a clip of W up to which its sums with a step fit in int32 */ };

/* clip(round_half_even(x / 2^shift), +-limit): its constants, in lanes. Beyond the bound every sum has the code of the bound,
 * which leaves room for the rounding. */
typedef struct wage_rounder {
    wage_lanes bound, lowest, half, tie, limit, least;
    int32_t right, left;
} wage_rounder;

static wage_rounder wage_rounder_of(const wage_rounding *rounding) {
    const int32_t right = rounding->shift > 0 ? rounding->shift : 0, half = right ? (1 << (right - 1)) - 1 : 0;
    const int64_t beyond = (int64_t)(rounding->limit + 1) << right, most = INT32_MAX - half - 1;
    const int32_t bound = (int32_t)(beyond < most ? beyond : most);
    const wage_rounder rounder = {
        .bound = wage_all(bound),
        .lowest = wage_all(-bound),
        .half = wage_all(half),
        .tie = wage_all(right ? 1 : 0),
        .limit = wage_all(rounding->limit),
        .least = wage_all(-rounding->limit),
        .right = right,
        .left = rounding->shift < 0 ? -rounding->shift : 0,
    };
    return rounder;
}

/* Sixteen codes, 0 where the gate is shut. */
WAGE_INLINE wage_lanes wage_round_sums(const wage_rounder *to, const int32_t *sums, wage_lanes gate) {
    wage_lanes x = wage_get(sums);
    for (int32_t i = 0; i < to->left; i++) x = wage_plus(x, x);
    x = wage_max(wage_min(x, to->bound), to->lowest);
    x = wage_right(wage_plus(x, wage_plus(to->half, wage_and(wage_right(x, to->right), to->tie))), to->right);
    x = wage_max(wage_min(x, to->limit), to->least);
    return wage_where_greater(wage_and(gate, wage_all(WAGE_GATE_OPEN)), wage_all(0), x, wage_all(0));
}

/* The first `count` of sixteen errors. */
WAGE_INLINE void wage_put_errors(uint8_t *errors, wage_lanes codes, int64_t count) {
    codes = wage_plus(codes, wage_all(WAGE_ZERO));
    if (count >= TILE_VECTOR) {
        wage_put_bytes(errors, codes);
    } else {
        uint8_t some[TILE_VECTOR];
        wage_put_bytes(some, codes);
        memcpy(errors, some, (size_t)count);
    }
}

static void wage_round_row(const wage_rounder *rounder, const int32_t *sums, const uint8_t *gate, int64_t size,
                           uint8_t *errors) {
    for (int64_t i = 0; i < size; i += TILE_VECTOR) {
        const wage_lanes gates = gate ? wage_get_bytes(gate + i) : wage_all(WAGE_GATE_OPEN);
        wage_put_errors(errors + i, wage_round_sums(rounder, sums + i, gates), size - i);
    }
}

/* One pooled position: each channel's error goes to the place of its window that the gate names. */
static void wage_spread(const wage_layer *layer, const wage_rounder *rounder, const int32_t *sums, const uint8_t *gate,
                        uint8_t *errors, ptrdiff_t row) {
    for (int32_t c = 0; c < layer->filters; c += TILE_VECTOR) {
        const wage_lanes gates = wage_get_bytes(gate + c), named = wage_right(gates, WAGE_GATE_PLACE);
        const wage_lanes codes = wage_round_sums(rounder, sums + c, gates);
        for (int32_t y = 0, place = 0; y < layer->pool_h; y++)
            for (int32_t x = 0; x < layer->pool_w; x++, place++)
                wage_put_errors(errors + y * row + (ptrdiff_t)x * layer->filters + c,
                                wage_where_equal(named, wage_all(place), codes, wage_all(0)), layer->filters - c);
    }
}

static void wage_linear_round_errors(const wage_layer *layer, const wage_rounding *rounding, const void *sums,
                                     const uint8_t *gate, const wage_image *e, int32_t count, const wage_team *team) {
    const wage_rounder rounder = wage_rounder_of(rounding);
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
            wage_round_row(&rounder, row, gate ? gate + from : NULL, size, errors);
            continue;
        }
        for (int32_t line = 0; line < layer->pool_h && y * layer->pool_h + line < layer->out_h; line++)
            memset(errors + line * e->row + (y < height ? (size_t)layer->pool_w * size : 0), WAGE_ZERO,
                   y < height ? rest : (size_t)layer->out_w * layer->filters);
        for (int32_t x = 0; x < width && y < height; x++)
            wage_spread(layer, &rounder, row + (ptrdiff_t)x * layer->filters, gate + from + (ptrdiff_t)x * layer->filters,
                        errors + (ptrdiff_t)x * layer->pool_w * layer->filters, e->row);
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
