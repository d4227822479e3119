/* What the network's file and the training share: the tables of its layers, and its forward pass. */
#ifndef WAGE_TRAIN_H
#define WAGE_TRAIN_H

#include "wage_net.h"

/* Of an output, what its error has to know, a byte a number: whether ReLU lets the error pass, whether Q_A's clip stops
 * it, and above these the place of the first maximum in the pooling's window, row by row. */
enum { WAGE_OPEN = 1, WAGE_CLIPPED = 2, WAGE_PLACE = 4 };

/* Stored numbers that are updated together, and the rule. */
typedef struct wage_parameter {
    int32_t first, count; /* which of the stored weights or biases they are */
    int is_bias;
    uint32_t variable;    /* index among the optimizer's variables, part of the random numbers' seed */
    int32_t grid, limit;  /* an update's step is 1 << grid; the numbers lie in +-limit */
} wage_parameter;

/* What passes errors back: a convolution (a matrix product is one of a 1x1 image) with pooling, ReLU and Q_A; or a sum or
 * an average pooling, which is a convolution of every channel by itself whose weights are all 1. */
typedef struct wage_layer {
    int32_t in_h, in_w, in_c, out_h, out_w, out_c; /* the output after pooling */
    int32_t window_h, window_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w, pool_h, pool_w, groups;
    int32_t input;        /* place of its input's codes in the arena, WAGE_BATCH images, where it has weights */
    int32_t errors;       /* which of wage_errors_of are those of its output */
    int32_t fraction;     /* fraction bits that an error gains on its way */
    int32_t kernel, bias; /* which of wage_parameters; -1: none. Weights [filters][window_h][window_w][channels / groups] */
    const int8_t *codes;  /* the weight's code by its stored byte */
} wage_layer;

/* A reader of an output, and where an output's number lies in the reader's input: number i is in row, column and channel
 * of an image of `columns` and `channels`, which is a part of a larger one that begins at the offsets. */
typedef struct wage_source {
    int32_t layer, columns, channels, whole_columns, whole_channels, row, column, channel;
} wage_source;

/* The errors of an output, codes after Q_E and the gates. Places are bytes in the arena and hold WAGE_BATCH images. */
typedef struct wage_errors {
    int32_t gates;  /* place of the output's gates */
    int32_t errors; /* place of its errors */
    int32_t size;   /* numbers of an image */
    int32_t limit;  /* the largest of these codes */
    int32_t first, count; /* the sources of the errors, which are added up; none: those of the loss */
} wage_errors;

extern const wage_parameter wage_parameters[WAGE_PARAMETERS];
extern const wage_layer wage_layers[WAGE_LAYERS];
extern const wage_source wage_sources[];
extern const wage_errors wage_errors_of[WAGE_ERRORS]; /* that of the scores first */
extern const int8_t wage_initial[WAGE_STORED];
#if WAGE_BIASES > 0
extern const int32_t wage_initial_biases[WAGE_BIASES];
#endif

/* The way back: i: the errors i, from their sources; ~i: the update of layer i. */
extern const int16_t wage_schedule[WAGE_SCHEDULE];

/* Runs `count` images; gates are written where `training`. Returns the scores, [count][WAGE_OUTPUTS] in the arena. */
const int32_t *wage_forward(wage_network *network, const uint8_t *images, int32_t count, int training);

/* Updates a layer's weights by the errors of its output and the codes of its input. */
void wage_update(wage_network *network, const wage_layer *layer, int32_t count);

static inline int8_t *wage_codes_at(wage_network *network, int32_t place)
{
    return (int8_t *)network->arena + place;
}

static inline uint8_t *wage_gates_at(wage_network *network, int32_t place)
{
    return (uint8_t *)network->arena + place;
}

static inline int32_t wage_smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

#endif
