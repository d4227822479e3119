/* The portable kernels: C99 without a library, for every layer and both sizes of codes. */
#include "wage_nodes.h"

enum { BLOCK = 64 };

/* Every channel has one filter of its own. */
static int depthwise(const wage_layer *layer) {
    return layer->groups > 1 && layer->channels == layer->groups && layer->filters == layer->groups;
}

/* How many filters from f0 on are computed together: of one group, which share their input. */
static int32_t filters_at_once(const wage_layer *layer, int32_t f0) {
    const int32_t outputs = layer->filters / layer->groups;
    const int32_t end = depthwise(layer) ? layer->filters : (f0 / outputs + 1) * outputs;
    return end - f0 < BLOCK ? end - f0 : BLOCK;
}

/* The output whose window begins at `begin`, or -1 where there is none. */
static int32_t window_of(int32_t begin, int32_t stride, int32_t outputs) {
    return begin >= 0 && begin % stride == 0 && begin / stride < outputs ? begin / stride : -1;
}

static int takes_all(const wage_layer *layer) {
    return layer != NULL;
}

static size_t no_packing(const wage_layer *layer) {
    (void)layer;
    return 0;
}

static size_t no_workspace(const wage_layer *layer, int32_t threads) {
    (void)layer, (void)threads;
    return 0;
}

#define CODE int8_t
#define SUM int32_t
#define UNSIGNED uint32_t
#define RUN 133144 /* 2^31 / 127^2 */
#define NAME(x) narrow_##x
#define TABLE wage_portable
#define NODES narrow_nodes
#include "wage_nodes.inc"
#include "wage_portable.inc"
#undef CODE
#undef SUM
#undef UNSIGNED
#undef RUN
#undef NAME
#undef TABLE
#undef NODES

#define CODE int16_t
#define SUM int64_t
#define UNSIGNED uint64_t
#define RUN INT32_MAX /* 2^63 / 32767^2 is more */
#define NAME(x) wide_##x
#define TABLE wage_portable_wide
#define NODES wide_nodes
#include "wage_nodes.inc"
#include "wage_portable.inc"
