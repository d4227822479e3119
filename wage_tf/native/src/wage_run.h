/* What the files of the runtime share: one call's arguments, tensors in the arena, and the functions of node kinds. */
#ifndef WAGE_RUN_H
#define WAGE_RUN_H

#include "wage_inline.h"
#include "wage_net.h"

typedef struct wage_run {
    const wage_net *net;
    const wage_state *state;
    const uint8_t *images;
    const int32_t *labels; /* NULL in inference */
    int32_t count;
    const wage_team *team;
    int32_t status; /* enum wage_status; the same in all threads */
} wage_run;

typedef void (*wage_node_function)(wage_run *run, const wage_node *node);

/* What is done between linear layers, for one size of codes; an instruction set names its own. */
struct wage_nodes {
    wage_node_function forward[WAGE_KINDS], backward[WAGE_KINDS]; /* by kind; NULL where a node does nothing */
    void (*loss)(wage_run *run); /* the scores' error y - t into the tensor's sums */
    /* The gradient of a WAGE_ADD's bias, int64; returns the largest magnitude of this thread's sums. */
    int64_t (*bias_gradient)(const wage_run *run, const wage_node *node);
};

static inline void *wage_at(const wage_run *run, int64_t offset) {
    return offset == WAGE_NONE ? NULL : (uint8_t *)run->state->arena + offset;
}

static inline size_t wage_code_bytes(const wage_net *net) {
    return net->wide ? sizeof(int16_t) : sizeof(int8_t);
}

/* The codes of a tensor, or its sums, which have no border. */
static inline wage_image wage_image_of(const wage_run *run, const wage_tensor *tensor) {
    const ptrdiff_t row = (ptrdiff_t)tensor->columns * tensor->channels;
    const ptrdiff_t begin = tensor->top * row + (ptrdiff_t)tensor->left * tensor->channels;
    wage_image image;
    image.data = (uint8_t *)wage_at(run, tensor->data) + (size_t)begin * (tensor->sums ? 0 : wage_code_bytes(run->net));
    image.row = row;
    image.image = tensor->rows * row;
    return image;
}

/* Every thread notes the largest magnitude it saw of tensor or weights `slot`; after a wait all may ask for the largest. */
static inline void wage_note(const wage_run *run, int32_t slot, int64_t largest) {
    run->state->largest[slot * run->team->count + run->team->index] = largest;
}

static inline int64_t wage_largest(const wage_run *run, int32_t slot) {
    int64_t largest = 0;
    for (int32_t i = 0; i < run->team->count; ++i) {
        const int64_t other = run->state->largest[slot * run->team->count + i];
        if (other > largest) largest = other;
    }
    return largest;
}

/* The fraction bits of a tensor's error; every thread keeps its own copy. */
static inline int32_t *wage_fraction(const wage_run *run, int32_t tensor) {
    return &run->state->fractions[tensor * run->team->count + run->team->index];
}

/* Q_E of errors with that maximum; its shift is also how many fraction bits they lose. */
static inline wage_rounding wage_error_rounding(int64_t largest, int32_t limit) {
    wage_rounding rounding = {0, limit};
    if (largest > 0) rounding.shift = wage_shift_exponent(largest);
    for (int32_t steps = limit; steps > 0; steps >>= 1) --rounding.shift;
    return rounding;
}

#endif
