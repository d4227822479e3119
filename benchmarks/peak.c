/* The peaks of one core: int8 dot products (vpdpbusd) and float32 FMA on 512-bit registers, as one line of JSON. */
#include <immintrin.h>
#include <stdio.h>
#include <time.h>

enum { CHAINS = 12, ROUNDS = 400000, TRIALS = 30 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double integer_gops(void) {
    __m512i sum[CHAINS];
    const __m512i row = _mm512_set1_epi8(3), column = _mm512_set1_epi8(1);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_setzero_si512();
    const double start = now();
    for (int k = 0; k < ROUNDS; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbusd_epi32(sum[i], row, column);
    }
    const double seconds = now() - start;
    volatile int sink = 0;
    for (int i = 0; i < CHAINS; i++) sink += _mm512_reduce_add_epi32(sum[i]);
    return 128e-9 * CHAINS * ROUNDS / seconds;
}

static double float_gflops(void) {
    __m512 sum[CHAINS];
    const __m512 a = _mm512_set1_ps(1.0001f), b = _mm512_set1_ps(0.9f);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_setzero_ps();
    const double start = now();
    for (int k = 0; k < ROUNDS; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
    }
    const double seconds = now() - start;
    volatile float sink = 0;
    for (int i = 0; i < CHAINS; i++) sink += _mm512_reduce_add_ps(sum[i]);
    return 32e-9 * CHAINS * ROUNDS / seconds;
}

int main(void) {
    double integers = 0, floats = 0;
    for (int i = 0; i < TRIALS; i++) {
        const double found = integer_gops(), other = float_gflops();
        integers = found > integers ? found : integers;
        floats = other > floats ? other : floats;
    }
    printf("{\"vpdpbusd_gops\": %.0f, \"fma_gflops\": %.0f}\n", integers, floats);
    return 0;
}
