/*
 * A network as a table of nodes, run forward, backward and updated in integers: C99, no heap, no float, no library.
 *
 * The caller owns all memory. The tables are constant; one arena holds activations, errors and gradients at planned
 * offsets; the weights lie where `wage_weights` says. Two networks, or two states of one, do not know of each other.
 * All functions here are called by every thread of a team (a team of one: {0, 1, NULL, NULL}) with the same arguments.
 */
#ifndef WAGE_NET_H
#define WAGE_NET_H

#include "wage_kernels.h"

#define WAGE_NONE (-1) /* no tensor, no offset */

/* A tensor between nodes: codes with a border, or dense sums. Offsets are bytes in the arena, multiples of 64. */
typedef struct wage_tensor {
    int32_t height, width, channels; /* 1, 1, n for vectors */
    int32_t sums;                    /* sums, dense; else codes */
    int32_t top, left;               /* the border before the image, pixels */
    int32_t rows, columns;           /* the size with its border */
    int64_t data;                    /* [batch][rows][columns][channels] */
    int64_t gate;                    /* WAGE_GATE_... of its producer, dense, or WAGE_NONE */
    int64_t error;                   /* its error's sums, dense, or WAGE_NONE where no error comes */
} wage_tensor;

enum wage_kind {
    WAGE_RESCALE,  /* images to codes, by `table` */
    WAGE_LINEAR,   /* convolution or dense layer, with what is fused to it */
    WAGE_ADD,      /* sum of one or several inputs and a bias; ReLU and Q_A where the output is codes */
    WAGE_CONCAT,   /* along the channels */
    WAGE_PAD,      /* zeros around: pad_top, pad_left of `layer` */
    WAGE_MAX_POOL, /* window, stride and pad of `layer` */
    WAGE_SUM_POOL, /* the same without pad: an average once the fraction has grown by log2 of the area */
    WAGE_FORK,     /* one tensor under several names, one for each reader, or in another shape: nothing moves forward */
    WAGE_ERROR,    /* Q_E, backward only; forward as WAGE_FORK */
    WAGE_KINDS
};

#define WAGE_WAYS 8 /* the most tensors that meet in a node */

typedef struct wage_node {
    int32_t kind;
    int32_t input, output; /* tensors; WAGE_RESCALE takes the images */
    int32_t way_count;     /* WAGE_ADD, WAGE_CONCAT: inputs, WAGE_FORK: outputs; `input` or `output` is the first */
    int32_t ways[WAGE_WAYS];
    int32_t shifts[WAGE_WAYS]; /* left shifts that bring the inputs to one fraction */
    int32_t weights;           /* of WAGE_LINEAR; of WAGE_ADD those of the bias, or WAGE_NONE */
    int32_t bias_shift;        /* left shift of the bias */
    int32_t error_limit;       /* Q_E on the output's error (WAGE_FORK: on the sum): its largest code; 0: none */
    int32_t error_fraction;    /* fraction bits that an error gains on its way through the node, Q_E's apart */
    int64_t error_most;        /* WAGE_FORK without Q_E: the largest sum of errors that the nodes before it take */
    wage_layer layer;
    const wage_kernels *kernels;
    const int16_t *table; /* 256 codes */
    wage_tensor errors;   /* of WAGE_LINEAR: the codes e of its sums' error; only sizes, border and data are used */
    int64_t gradient;     /* arena offsets, or WAGE_NONE */
    int64_t workspace;
} wage_node;

/* The rule of one kernel's update. */
typedef struct wage_rule {
    int64_t size;         /* weights */
    int32_t trained;      /* 0: frozen */
    uint32_t variable;    /* index among the optimizer's variables */
    int32_t stored_bytes; /* of a stored weight: 1, 2 or 4 */
    int32_t grid, limit, code_shift, code_limit; /* as in wage_rate */
} wage_rule;

typedef struct wage_net {
    int32_t node_count, tensor_count, weights_count;
    const wage_node *nodes; /* in the order of the forward pass */
    const wage_tensor *tensors;
    const wage_rule *rules;
    const wage_kernels *kernels; /* whose nodes are between the linear layers */
    int32_t wide;     /* codes are int16, sums int64 */
    int32_t batch;    /* the most images at once */
    int32_t scores;   /* tensor of `classes` elements */
    int32_t classes;
    int32_t fraction; /* fraction bits of the scores */
} wage_net;

typedef struct wage_weights {
    void *codes;  /* NULL: a bias, whose stored numbers are its codes */
    void *stored; /* NULL: a kernel for inference only */
    void *packed; /* kernels->packed_size bytes, multiples of 64; may be NULL for 0 */
} wage_weights;

typedef struct wage_state {
    void *arena; /* at a multiple of 64 */
    const wage_weights *weights;
    int64_t *largest;   /* (tensor_count + weights_count) * threads: work space for maxima */
    int32_t *fractions; /* tensor_count * threads: of the errors */
    int32_t log2_eta; /* log2 of the learning rate, at most 30 */
    int32_t random_width;
    uint32_t seed, step; /* the caller counts the steps */
} wage_state;

enum wage_status {
    WAGE_OK = 0,
    WAGE_COUNT = 1, /* no image, or more than the batch */
    WAGE_LABEL = 2, /* a label that is no class */
    WAGE_RANGE = 3, /* errors that meet differ so much in size that their sum passes 62 bits */
    WAGE_SIZE = 4   /* errors that meet without a Q_E pass error_most */
};

/* Packs codes for the kernels: once, and after codes were changed by others than wage_train_step. */
void wage_pack(const wage_net *net, const wage_state *state, int32_t training, const wage_team *team);

/* Scores of images [count][height][width][channels], left in the tensor net->scores. */
int32_t wage_infer(const wage_net *net, const wage_state *state, const uint8_t *images, int32_t count,
                   const wage_team *team);

/* Forward, backward and update on one batch. An error code says that nothing was changed. */
int32_t wage_train_step(const wage_net *net, const wage_state *state, const uint8_t *images, const int32_t *labels,
                        int32_t count, const wage_team *team);

#endif
