/*
 * Bytes into the order of the tile: columns by fours of k, rows by channel. Two moves of 16-byte vectors do all of it.
 */
#ifndef WAGE_PACK_H
#define WAGE_PACK_H

#include <string.h>

#include "wage_tile.h"

#if defined(__x86_64__) || defined(__i386__)
#include <emmintrin.h>
typedef __m128i wage_bytes;
WAGE_INLINE wage_bytes wage_load(const uint8_t *at) { return _mm_loadu_si128((const __m128i *)(const void *)at); }
WAGE_INLINE void wage_store(uint8_t *at, wage_bytes x) { _mm_storeu_si128((__m128i *)(void *)at, x); }
WAGE_INLINE wage_bytes wage_zip_low(wage_bytes a, wage_bytes b) { return _mm_unpacklo_epi8(a, b); }
WAGE_INLINE wage_bytes wage_zip_high(wage_bytes a, wage_bytes b) { return _mm_unpackhi_epi8(a, b); }
WAGE_INLINE wage_bytes wage_xor(wage_bytes a, wage_bytes b) { return _mm_xor_si128(a, b); }
WAGE_INLINE wage_bytes wage_fill(uint8_t x) { return _mm_set1_epi8((char)x); }
WAGE_INLINE wage_bytes wage_zip_low_fours(wage_bytes a, wage_bytes b) { return _mm_unpacklo_epi32(a, b); }
WAGE_INLINE wage_bytes wage_zip_high_fours(wage_bytes a, wage_bytes b) { return _mm_unpackhi_epi32(a, b); }
#else
#include <arm_neon.h>
typedef uint8x16_t wage_bytes;
WAGE_INLINE wage_bytes wage_load(const uint8_t *at) { return vld1q_u8(at); }
WAGE_INLINE void wage_store(uint8_t *at, wage_bytes x) { vst1q_u8(at, x); }
WAGE_INLINE wage_bytes wage_zip_low(wage_bytes a, wage_bytes b) { return vzip1q_u8(a, b); }
WAGE_INLINE wage_bytes wage_zip_high(wage_bytes a, wage_bytes b) { return vzip2q_u8(a, b); }
WAGE_INLINE wage_bytes wage_xor(wage_bytes a, wage_bytes b) { return veorq_u8(a, b); }
WAGE_INLINE wage_bytes wage_fill(uint8_t x) { return vdupq_n_u8(x); }
WAGE_INLINE wage_bytes wage_zip_low_fours(wage_bytes a, wage_bytes b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
WAGE_INLINE wage_bytes wage_zip_high_fours(wage_bytes a, wage_bytes b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
#endif

static inline int32_t wage_ceil(int32_t a, int32_t b) { return (a + b - 1) / b; }

/*
 * A matrix of bytes, element (k, c) at matrix[k * row + c], as columns of tiles: [c / 32][k / 4][32][4], blocks of 32 columns
 * `block` bytes apart. Bytes are xored with `flip`; k from `rows` to the next multiple of 4 are 0, columns beyond the last
 * hold anything (up to 15 bytes are read there).
 */
static void wage_pack_columns(const uint8_t *matrix, ptrdiff_t row, int32_t rows, int32_t columns, uint8_t flip,
                              uint8_t *packed, ptrdiff_t block) {
    const wage_bytes flips = wage_fill(flip);
    for (int32_t k = 0; k < rows; k += 4, packed += TILE_GROUP) {
        for (int32_t c = 0; c < columns; c += TILE_VECTOR) {
            wage_bytes four[4];
            for (int32_t i = 0; i < 4; i++)
                four[i] = k + i < rows ? wage_xor(wage_load(matrix + (k + i) * row + c), flips) : wage_fill(0);
            const wage_bytes even_low = wage_zip_low(four[0], four[2]), even_high = wage_zip_high(four[0], four[2]);
            const wage_bytes odd_low = wage_zip_low(four[1], four[3]), odd_high = wage_zip_high(four[1], four[3]);
            uint8_t *at = packed + c / TILE_COLUMNS * block + c % TILE_COLUMNS * 4;
            wage_store(at, wage_zip_low(even_low, odd_low));
            wage_store(at + 16, wage_zip_high(even_low, odd_low));
            wage_store(at + 32, wage_zip_low(even_high, odd_high));
            wage_store(at + 48, wage_zip_high(even_high, odd_high));
        }
    }
}

/*
 * The same of a matrix that lies the other way round: element (k, c) at matrix[c * column + k], 32 columns of one block, of
 * which `count` exist; the others are 0. `rows` is a multiple of 4.
 */
static void wage_pack_turned(const uint8_t *matrix, ptrdiff_t column, int32_t rows, int32_t count, uint8_t *packed) {
    for (int32_t c = 0; c < TILE_COLUMNS; c += 4) {
        const uint8_t *four[4];
        for (int32_t i = 0; i < 4; i++) four[i] = c + i < count ? matrix + (c + i) * column : NULL;
        uint8_t *to = packed + 4 * c;
        for (int32_t k = 0; k < rows; k += 16) {
            wage_bytes square[4], half[4];
            for (int32_t i = 0; i < 4; i++) square[i] = four[i] ? wage_load(four[i] + k) : wage_fill(0);
            /* Two perfect shuffles of 4 x 4 groups of four bytes. */
            for (int32_t i = 0; i < 2; i++) {
                half[2 * i] = wage_zip_low_fours(square[i], square[i + 2]);
                half[2 * i + 1] = wage_zip_high_fours(square[i], square[i + 2]);
            }
            for (int32_t i = 0; i < 2; i++) {
                square[2 * i] = wage_zip_low_fours(half[i], half[i + 2]);
                square[2 * i + 1] = wage_zip_high_fours(half[i], half[i + 2]);
            }
            for (int32_t i = 0; i < 4 && k + 4 * i < rows; i++, to += TILE_GROUP) wage_store(to, square[i]);
        }
    }
}

/* Minus the sum of signed bytes. */
static int32_t wage_minus_sum(const int8_t *bytes, int32_t count) {
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) sum -= bytes[i];
    return sum;
}

/*
 * Pixels of `channels` bytes, `pixel` bytes apart, as one row of every channel's plane. Whole vectors are written: up to 15
 * bytes beyond the row, which the next row overwrites, and read: up to 15 bytes beyond the last channel.
 */
static void wage_pack_planes(const uint8_t *pixels, ptrdiff_t pixel, int32_t count, int32_t channels, uint8_t flip,
                             uint8_t *planes, ptrdiff_t plane) {
    const wage_bytes flips = wage_fill(flip);
    for (int32_t c = 0; c < channels; c += 16) {
        const int32_t kept = channels - c < 16 ? channels - c : 16;
        for (int32_t p = 0; p < count; p += 16) {
            wage_bytes square[16], turned[16];
            for (int32_t i = 0; i < 16; i++)
                square[i] = wage_xor(wage_load(pixels + (p + i < count ? p + i : count - 1) * pixel + c), flips);
            /* Four perfect shuffles of 256 bytes exchange the four bits of the pixel with those of the channel. */
            for (int32_t i = 0; i < 8; i++) {
                turned[2 * i] = wage_zip_low(square[i], square[i + 8]);
                turned[2 * i + 1] = wage_zip_high(square[i], square[i + 8]);
            }
            for (int32_t i = 0; i < 8; i++) {
                square[2 * i] = wage_zip_low(turned[i], turned[i + 8]);
                square[2 * i + 1] = wage_zip_high(turned[i], turned[i + 8]);
            }
            for (int32_t i = 0; i < 8; i++) {
                turned[2 * i] = wage_zip_low(square[i], square[i + 8]);
                turned[2 * i + 1] = wage_zip_high(square[i], square[i + 8]);
            }
            for (int32_t i = 0; i < 8; i++) {
                square[2 * i] = wage_zip_low(turned[i], turned[i + 8]);
                square[2 * i + 1] = wage_zip_high(turned[i], turned[i + 8]);
            }
            for (int32_t i = 0; i < kept; i++) wage_store(planes + (c + i) * plane + p, square[i]);
        }
    }
}

/* Copies rows of `bytes` bytes with their bytes xored with `flip`. */
static void wage_copy_row(uint8_t *to, const uint8_t *from, ptrdiff_t bytes, uint8_t flip) {
    for (ptrdiff_t i = 0; i < bytes; i++) to[i] = from[i] ^ flip;
}

#endif
