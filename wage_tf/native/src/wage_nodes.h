/* What the nodes between linear layers need whatever their types: how work is shared and sizes are counted. */
#ifndef WAGE_NODES_H
#define WAGE_NODES_H

#include "wage_run.h"

enum { PIECE = 512 /* numbers that are taken at once, and stay in the nearest cache */ };

/* A thread's images. */
typedef struct share {
    int64_t first, last;
} share;

static share images_of(const wage_run *run) {
    share part;
    wage_share(run->team, run->count, 1, &part.first, &part.last);
    return part;
}

static int64_t pixels_of(const wage_tensor *tensor) {
    return (int64_t)tensor->height * tensor->width;
}

static int64_t size_of(const wage_tensor *tensor) {
    return pixels_of(tensor) * tensor->channels;
}

/* The left shifts of the errors that meet in a fork and the fraction of their sum; returns a bound on it of 62 bits. */
static int64_t align(wage_run *run, const wage_node *node, int32_t *shifts, int32_t *fraction) {
    int64_t bound = 0;
    int any = 0;
    *fraction = *wage_fraction(run, node->ways[0]);
    for (int32_t way = 0; way < node->way_count; ++way) {
        const int32_t other = *wage_fraction(run, node->ways[way]);
        if (wage_largest(run, node->ways[way]) == 0) continue;
        if (!any || other > *fraction) *fraction = other;
        any = 1;
    }
    for (int32_t way = 0; way < node->way_count; ++way) {
        const int64_t largest = wage_largest(run, node->ways[way]);
        const int32_t shift = *fraction - *wage_fraction(run, node->ways[way]);
        shifts[way] = largest == 0 ? 0 : shift;
        if (largest == 0) continue;
        if (shift > 61 || largest > (((INT64_C(1) << 62) - 1 - bound) >> shift)) {
            run->status = WAGE_RANGE;
            return bound;
        }
        bound += largest * (INT64_C(1) << shift);
    }
    return bound;
}

#endif
