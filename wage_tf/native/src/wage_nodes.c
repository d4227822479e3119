/* The nodes between linear layers: rescaling, sums, activation, pooling, forks, the rounding of errors, the loss. */
#include "wage_run.h"

enum { BLOCK = 64 };

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

/* The left shifts of the errors that meet in a fork; returns the fraction of their sum, which has at most 62 bits. */
static int32_t align(wage_run *run, const wage_node *node, int32_t *shifts) {
    int32_t finest = *wage_fraction(run, node->ways[0]);
    int64_t bound = 0;
    int any = 0;
    for (int32_t way = 0; way < node->way_count; ++way) {
        const int32_t fraction = *wage_fraction(run, node->ways[way]);
        if (wage_largest(run, node->ways[way]) == 0) continue;
        if (!any || fraction > finest) finest = fraction;
        any = 1;
    }
    for (int32_t way = 0; way < node->way_count; ++way) {
        const int64_t largest = wage_largest(run, node->ways[way]);
        const int32_t shift = finest - *wage_fraction(run, node->ways[way]);
        shifts[way] = largest == 0 ? 0 : shift;
        if (largest == 0) continue;
        if (shift > 61 || largest > (((INT64_C(1) << 62) - 1 - bound) >> shift)) {
            run->status = WAGE_RANGE;
            return finest;
        }
        bound += largest * (INT64_C(1) << shift);
    }
    return finest;
}

#define CODE int8_t
#define SUM int32_t
#define NAME(x) wage_narrow_##x
#define FORWARD wage_narrow_forward
#define BACKWARD wage_narrow_backward
#include "wage_nodes.inc"
#undef CODE
#undef SUM
#undef NAME
#undef FORWARD
#undef BACKWARD

#define CODE int16_t
#define SUM int64_t
#define NAME(x) wage_wide_##x
#define FORWARD wage_wide_forward
#define BACKWARD wage_wide_backward
#include "wage_nodes.inc"
