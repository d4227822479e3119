/* The arithmetic of WAGE on single integers: what the server's kernels and a device's training share. */
#ifndef WAGE_INTEGERS_H
#define WAGE_INTEGERS_H

#include <stdint.h>

/* p of Shift(m) = 2^p, the power of two nearest to m > 0 on a log scale: with 2^p <= m < 2^(p+1), one more where
 * m > sqrt(2) * 2^p. The constant is floor(sqrt(2) * 2^62); no m equals the irrational threshold. */
static inline int32_t wage_shift_exponent(int64_t m) {
    int32_t p = 0;
    while (m >> p > 1) ++p;
    return p + (m > (INT64_C(0x5A827999FCEF3242) >> (62 - p)));
}

/* The same without a number of 64 bits, which a small device has no instructions for. */
static inline int32_t wage_shift_exponent_32(int32_t m) {
    int32_t p = 0;
    while (m >> p > 1) ++p;
    return p + (m > (INT32_C(0x5A827999) >> (30 - p)));
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
