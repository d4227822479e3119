/* Seconds of 2^26 integer dot product instructions on registers alone, twelve at a time in flight: argv[1] names the set. */
#include <immintrin.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CHAINS = 12, ROUNDS = (1 << 26) / CHAINS };

__attribute__((target("avx512f,avx512vnni"))) static int vnni(void) {
    __m512i sums[CHAINS], x = _mm512_set1_epi8(3), total = _mm512_setzero_si512();
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm512_set1_epi32(i);
    for (int round = 0; round < ROUNDS; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(sums[i]) : "v"(x));
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) total = _mm512_add_epi32(total, sums[i]);
    return _mm512_reduce_add_epi32(total);
}

__attribute__((target("avx2"))) static int avx2(void) {
    __m256i sums[CHAINS], x = _mm256_set1_epi8(3), total = _mm256_setzero_si256();
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm256_set1_epi16((short)i);
    for (int round = 0; round < ROUNDS; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i) {
            __m256i product = x;
            __asm__ volatile("vpmaddubsw %1, %1, %0" : "+x"(product) : "x"(x));
            __asm__ volatile("vpaddw %1, %0, %0" : "+x"(sums[i]) : "x"(product));
        }
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) total = _mm256_add_epi16(total, sums[i]);
    return _mm256_extract_epi16(total, 0);
}

int main(int count, char **arguments) {
    const int wide = count > 1 && strcmp(arguments[1], "avx512vnni") == 0;
    double least = 1e9;
    int result = 0;
    for (int repeat = 0; repeat < 5; ++repeat) {
        struct timespec begin, end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        result += wide ? vnni() : avx2();
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        const double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        if (seconds < least) least = seconds;
    }
    printf("%.6f %d\n", least, result);
    return 0;
}
