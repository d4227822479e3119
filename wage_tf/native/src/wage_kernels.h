/*
 * What an instruction set implements: the three passes of a linear layer, the requantization of errors and the update.
 *
 * The network (wage_net.c) asks a table of kernels, layer by layer, whether it takes the layer; it does all three passes
 * then, and owns how weights are packed and what its workspace holds. A layer that it declines runs on the portable
 * kernels, which take everything. A new instruction set is one `wage_kernels` table, without a change of anything here.
 *
 * Layouts
 *   images    [count][height][width][channels] bytes, channels last, pixels `channels` bytes apart with nothing between
 *             them, so that a row of a window is window_w * channels bytes in one piece (dilation 1). Rows and images lie
 *             `row` and `image` bytes apart: there is a border around every image. The network lays the border out, fills
 *             it, and keeps it filled; kernels read it and never write it. `data` is the first pixel inside the border.
 *   weights   [window_h][window_w][channels / groups][filters] int8 codes, filters last, as the graph stores them.
 *   sums      int32 (gradients: int64 where `wide_gradient` says so), dense, no border.
 *   A dense layer is a convolution of 1x1 images: channels = inputs, filters = units, image stride = inputs.
 *
 * Codes
 *   x   activations: 0..127 in uint8 where `x_signed` is 0 (after ReLU), else -127..127 in int8.  Border: 0.
 *   w   weights: -w_limit..w_limit, 1 for ternary and binary weights, at most 127.
 *   e   errors of the layer's sums: -127..127, stored as (e + e_zero), e_zero being 0 or 128: the table chooses once, for
 *       kernels whose dot product wants an unsigned operand.  Border: e_zero.
 *
 * Guarantees to a kernel
 *   - Arrays begin at multiples of 64 bytes (the allocation, border included, not `data`), and 64 bytes before the first
 *     and after the last element may be read (their content is anything), never written.
 *   - x has a border of pad_top rows and pad_left pixels, and after the image as much as the last window reaches.
 *   - e has, for strides of 1, a border of dilation * (window - 1) - pad on each side, the mirrored one of its window, so
 *     that the error pass is a convolution with flipped weights; other strides: none is promised.
 *   - No sum of an int32 result passes 2^31 - 1, in any order of the terms (the network proves it from the bounds or sets
 *     `wide`).
 *
 * Threads
 *   A kernel is called by all threads of a team at once, with the same arguments but the team's `index`, and divides the
 *   work as it likes (`wage_share` of wage_inline.h gives contiguous parts). It may wait for the others with `wage_wait`; whoever calls it
 *   waits after it returned, so a kernel need not. Sums of integers do not depend on the order of their terms: results
 *   are the same for every number of threads. Maxima are returned per thread; the caller combines them.
 *   Kernels take no memory, keep no state and read no clock.
 *
 * Codes of 9 to 16 bits, and sums that int32 is not proven to hold, have one table, `wage_portable_wide`, with int16 where
 * this text says bytes and int8, and int64 where it says int32. A network is wide or it is not; all other tables are for
 * those that are not, hence `void` below.
 */
#ifndef WAGE_KERNELS_H
#define WAGE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* One member of the threads that run a kernel together. */
typedef struct wage_team {
    int32_t index;               /* 0 .. count - 1 */
    int32_t count;
    void (*wait)(void *barrier); /* returns when all have called it; not called in a team of one */
    void *barrier;
} wage_team;

/* Images with a border; strides in elements. */
typedef struct wage_image {
    void *data;      /* the first pixel inside the border */
    ptrdiff_t row;   /* from one row to the next */
    ptrdiff_t image; /* from one image to the next */
} wage_image;

/* What becomes of the sums. */
enum wage_output {
    WAGE_SUMS, /* int32 sums, dense; pool is 1x1, relu 0 */
    WAGE_CODES /* maximum of the pool's windows, ReLU, Q_A: codes in a byte */
};

/* A linear layer with what is fused to it. All of it is fixed when the network is laid out, but for the number of images. */
typedef struct wage_layer {
    int32_t batch; /* the most images of one call */
    int32_t in_h, in_w, channels;
    int32_t window_h, window_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_top, pad_left; /* zeros before the image; those after it follow from out_h, out_w */
    int32_t out_h, out_w, filters;
    int32_t groups; /* 1; channels for depthwise */

    int32_t x_signed; /* see "Codes" */
    int32_t w_limit;
    int32_t e_zero;
    int32_t wide_gradient; /* gradient sums are int64: one of int32 could overflow at `batch` images */

    int32_t output;         /* enum wage_output */
    int32_t pool_h, pool_w; /* fused max pooling, windows side by side (strides = sizes, VALID, at most 8x8); 1x1: none */
    int32_t relu;
    int32_t shift; /* Q_A: codes = clip(round_half_even(sum / 2^shift), +-limit), shift >= 0 */
    int32_t limit; /* 2^(k_A - 1) - 1, at most 127 */
} wage_layer;

/* Of a pass's output, what its backward pass has to know: one byte an element, dense, of the shape of the (pooled) output.
 * The lowest bit: ReLU lets the error pass (sum > 0; always set without ReLU). Next: Q_A's clip stops it (the sum, after
 * ReLU, has a magnitude above limit << shift: the unrounded sum, not the code). Above: the place of the first maximum in
 * the pool's window, row by row, 0 without pooling. */
#define WAGE_GATE_OPEN 1u
#define WAGE_GATE_CLIPPED 2u
#define WAGE_GATE_PLACE 2 /* shift of the place */

/* How a pass of errors is rounded: Q_E of a tensor whose maximum is known. */
typedef struct wage_rounding {
    int32_t shift; /* codes = clip(round_half_even(sum / 2^shift), +-limit); negative: sum * 2^-shift, then the clip */
    int32_t limit; /* 2^(k_E - 1) - 1, at most 127 */
} wage_rounding;

/* IntegerSGD of one kernel at one step: W <- clip(W - Q_G(g)), codes = Q(W, k_W). */
typedef struct wage_rate {
    int32_t shift;          /* log2(Shift(max|g|) / eta); may be negative */
    uint32_t keys[2];       /* mix(s0), mix(s1 ^ 0x9E3779B9) of the random numbers */
    int32_t random_width;   /* n of r < 2^n, 1 .. 24 */
    int32_t grid;           /* steps of W's units in one step of the update's grid: << grid */
    int32_t limit;          /* of W */
    int32_t code_shift;     /* codes = clip(round_half_even(W / 2^code_shift), +-code_limit) */
    int32_t code_limit;     /* 0: binary, the sign with Q(0) = 1 */
} wage_rate;

typedef struct wage_nodes wage_nodes; /* wage_run.h */

typedef struct wage_kernels {
    const char *name;    /* "portable", "avx2", ... */
    const wage_nodes *nodes; /* what is between linear layers, compiled for the same instructions */
    int32_t e_zero;      /* what layers that this table takes add to their errors: 0 or 128 */

    /* Whether the table does all passes of the layer; layer->e_zero is the table's. */
    int (*takes)(const wage_layer *layer);

    /* Bytes of the packed weights (of both passes), and of the workspace shared by a team of `threads`, the most that any
     * of the layer's passes needs. The workspace is aligned to 64 bytes, belongs to one call, and its content is anything. */
    size_t (*packed_size)(const wage_layer *layer);
    size_t (*workspace_size)(const wage_layer *layer, int32_t threads);

    /* Packs the codes for `forward` and, where `training`, for `error`. Called after every update. With a packed_size of
     * 0 it is not called (NULL, then): forward and error get the codes themselves. */
    void (*pack)(const wage_layer *layer, const void *codes, void *packed, int32_t training, const wage_team *team);

    /* Sums of x * w, then what layer->output says. y: WAGE_SUMS: int32 [count][out_h][out_w][filters];
     * WAGE_CODES: bytes of [count][out_h / pool_h][out_w / pool_w][filters] (rounded down) with the strides given.
     * gate: see above, or NULL in inference; not written for WAGE_SUMS. */
    void (*forward)(const wage_layer *layer, const void *packed, const wage_image *x, const wage_image *y, uint8_t *gate,
                    int32_t count, void *workspace, const wage_team *team);

    /* The error of the layer's input: sums of e * w, int32 [count][in_h][in_w][channels] dense. `gate` belongs to the
     * input (its producer's): where it says WAGE_GATE_CLIPPED the sum is set to 0; NULL: nothing is.
     * Returns the largest magnitude among the sums that this thread has written, after the gate. */
    int64_t (*error)(const wage_layer *layer, const void *packed, const wage_image *e, void *sums, const uint8_t *gate,
                     int32_t count, void *workspace, const wage_team *team);

    /* The gradient of the weights: sums of x * e over images and positions, int32 or int64 (layer->wide_gradient) in the
     * layout of the weights, overwritten. Returns the largest magnitude among the sums that this thread finished. */
    int64_t (*gradient)(const wage_layer *layer, const wage_image *x, const wage_image *e, void *sums, int32_t count,
                        void *workspace, const wage_team *team);

    /* Q_E, ReLU's mask and the pool's spread in one pass: from sums [count][out_h / pool_h][out_w / pool_w][filters] of
     * the layer's (pooled) output to its errors e [count][out_h][out_w][filters], + e_zero; with a pool, e_zero goes to
     * all but the gate's place, and to rows and columns in no window. gate NULL: all open, no pool. */
    void (*round_errors)(const wage_layer *layer, const wage_rounding *rounding, const void *sums, const uint8_t *gate,
                         const wage_image *e, int32_t count, const wage_team *team);

    /* The update of weights [0, size): sums as `gradient` left them, stored weights int8, int16 or int32 (1, 2, 4 bytes)
     * and codes, both changed in place. Element i takes the random number of index i. */
    void (*update)(const wage_rate *rate, const void *sums, int32_t wide_sums, void *stored, int32_t stored_bytes,
                   void *codes, int64_t size, const wage_team *team);
} wage_kernels;

/* The tables; one that the compiler or the CPU lacks is not linked (see wage_isa.c). */
extern const wage_kernels wage_portable;
extern const wage_kernels wage_portable_wide;

#endif
