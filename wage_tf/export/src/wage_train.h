/* What the network's file and the training share: the tables of its layers, and its forward pass. */
#ifndef WAGE_TRAIN_H
#define WAGE_TRAIN_H

#include "wage_net.h"

/* Of an output, what its error has to know, a byte a number: whether ReLU lets the error pass, whether Q_A's clip stops
 * it, and above these the place of the first maximum in the pooling's window, row by row. */
enum { WAGE_OPEN = 1, WAGE_CLIPPED = 2, WAGE_PLACE = 4 };

/* A trained layer: a convolution (a matrix product is one of a 1x1 image) with pooling, ReLU and Q_A. Places are bytes in
 * the arena and hold WAGE_BATCH images. */
typedef struct wage_layer {
    int32_t in_h, in_w, in_c, out_h, out_w, out_c; /* the output after pooling */
    int32_t window_h, window_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w, pool_h, pool_w, groups;
    int32_t input;       /* place of its input's codes */
    int32_t gates;       /* place of its output's gates */
    int32_t errors;      /* place of its output's errors, codes after Q_E and the gates */
    int32_t error_limit; /* the largest of these codes */
    int32_t stored;      /* first of its weights [filters][window_h][window_w][channels / groups] */
    const int8_t *codes; /* the weight's code by its stored byte */
    uint32_t variable;   /* index among the optimizer's variables, part of the random numbers' seed */
    int32_t grid, limit; /* an update's step is 1 << grid; weights lie in +-limit */
} wage_layer;

extern const wage_layer wage_layers[WAGE_LAYERS];
extern const int8_t wage_initial[WAGE_STORED];

/* Runs `count` images; gates are written where `training`. Returns the scores, [count][WAGE_OUTPUTS] in the arena. */
const int32_t *wage_forward(wage_network *network, const uint8_t *images, int32_t count, int training);

/* Negative sums to 0 where relu is set; then, unless limit is 0, a shift that rounds half to even and a clip. */
int32_t wage_rounded(int32_t sum, int relu, int shift, int32_t limit);

#endif
