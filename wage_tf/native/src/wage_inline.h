/* The arithmetic of WAGE on single integers, and the sharing of work in a team: small functions that kernels inline. */
#ifndef WAGE_INLINE_H
#define WAGE_INLINE_H

#include "wage_integers.h"
#include "wage_kernels.h"

static inline void wage_wait(const wage_team *team) {
    if (team->count > 1) team->wait(team->barrier);
}

/* This member's share [*first, *last) of 0 .. total - 1, bounds at multiples of `grain` (and at total). */
static inline void wage_share(const wage_team *team, int64_t total, int64_t grain, int64_t *first, int64_t *last) {
    int64_t grains = (total + grain - 1) / grain;
    *first = grains * team->index / team->count * grain;
    *last = grains * (team->index + 1) / team->count * grain;
    if (*first > total) *first = total;
    if (*last > total) *last = total;
}

/* x / 2^shift to the nearest integer, half to even; a negative shift multiplies. Shift: -62 .. 62. */
static inline int64_t wage_round_shift(int64_t x, int32_t shift) {
    if (shift <= 0) return x * ((int64_t)1 << -shift);
    return (x + (((int64_t)1 << (shift - 1)) - 1) + ((x >> shift) & 1)) >> shift;
}

static inline int64_t wage_magnitude(int64_t x) {
    return x < 0 ? -x : x;
}

static inline int64_t wage_clip(int64_t x, int64_t limit) {
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* The gate of a sum, ReLU applied, without a place. A layer without Q_A clips nothing. */
static inline uint8_t wage_gate(const wage_layer *layer, int64_t sum) {
    const int64_t scaled = layer->shift < 0 ? sum * ((int64_t)1 << -layer->shift) : sum;
    const int64_t threshold = (int64_t)layer->limit << (layer->shift > 0 ? layer->shift : 0);
    const unsigned open = !layer->relu || sum > 0 ? WAGE_GATE_OPEN : 0;
    return (uint8_t)(open | (layer->output == WAGE_CODES && (scaled > threshold || scaled < -threshold) ? WAGE_GATE_CLIPPED : 0));
}

/* Stored weights of 1, 2 or 4 bytes. */
static inline int64_t wage_stored(const void *stored, int32_t bytes, int64_t i) {
    if (bytes == 1) return ((const int8_t *)stored)[i];
    if (bytes == 2) return ((const int16_t *)stored)[i];
    return ((const int32_t *)stored)[i];
}

static inline void wage_set_stored(void *stored, int32_t bytes, int64_t i, int64_t value) {
    if (bytes == 1) ((int8_t *)stored)[i] = (int8_t)value;
    else if (bytes == 2) ((int16_t *)stored)[i] = (int16_t)value;
    else ((int32_t *)stored)[i] = (int32_t)value;
}

/* Q_G of one gradient sum, in steps of W's grid: sgn(g) * (floor(|g| / 2^s) + Bernoulli(the fraction)), where the draw
 * r < fraction * 2^n of a random n-bit integer r compares it with (|g| mod 2^s) * 2^(n - s), rounded up. */
static inline int64_t wage_update_step(const wage_rate *rate, int64_t g, uint32_t index) {
    const int64_t size = wage_magnitude(g);
    int64_t steps;
    if (rate->shift <= 0) {
        steps = size * ((int64_t)1 << -rate->shift);
    } else {
        const int32_t whole = rate->shift < 63 ? rate->shift : 63, excess = rate->shift - rate->random_width;
        const int64_t rest = size & (int64_t)((UINT64_C(1) << whole) - 1);
        const int64_t bound = excess > 0 ? -(-rest >> (excess < 63 ? excess : 63)) : rest * ((int64_t)1 << -excess);
        steps = (size >> whole) + (wage_random(rate->keys, index, rate->random_width) < bound);
    }
    return (g < 0 ? -steps : steps) * ((int64_t)1 << rate->grid);
}

#endif
