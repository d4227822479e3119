/* The arithmetic of WAGE on single integers, and the sharing of work in a team: small functions that kernels inline. */
#ifndef WAGE_INLINE_H
#define WAGE_INLINE_H

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

static inline int64_t wage_clip(int64_t x, int64_t limit) {
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* p of Shift(m) = 2^p, the power of two nearest to m > 0 on a log scale: with 2^p <= m < 2^(p+1), one more where
 * m > sqrt(2) * 2^p. The constant is floor(sqrt(2) * 2^62); no m equals the irrational threshold. */
static inline int32_t wage_shift_exponent(int64_t m) {
    int32_t p = 0;
    while (m >> p > 1) ++p;
    return p + (m > (INT64_C(0x5A827999FCEF3242) >> (62 - p)));
}

/* The counter-based random numbers: word(i) = mix(mix(i ^ keys[0]) ^ keys[1]), its upper bits are taken. */
static inline uint32_t wage_mix(uint32_t h) {
    h = (h ^ (h >> 16)) * UINT32_C(0x7FEB352D);
    h = (h ^ (h >> 15)) * UINT32_C(0x846CA68B);
    return h ^ (h >> 16);
}

static inline uint32_t wage_random(const uint32_t keys[2], uint32_t index, int32_t width) {
    return wage_mix(wage_mix(index ^ keys[0]) ^ keys[1]) >> (32 - width);
}

#endif
