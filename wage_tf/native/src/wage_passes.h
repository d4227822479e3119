/* All passes over the tile that was included before, and the table of them. */
#ifndef WAGE_PASSES_H
#define WAGE_PASSES_H

#include "wage_gradient.h"
#include "wage_nodes.h"
#include "wage_round.h"

#define CODE int8_t
#define SUM int32_t
#define UNSIGNED uint32_t
#define NAME(x) wage_node_##x
#define NODES wage_nodes_here
#include "wage_nodes.inc"
#undef CODE
#undef SUM
#undef UNSIGNED
#undef NAME
#undef NODES

#include "wage_depthwise.h"

static int wage_takes(const wage_layer *layer) {
    return wage_linear_takes(layer) || wage_depth_takes(layer);
}

static size_t wage_packed_size(const wage_layer *layer) {
    return wage_is_depthwise(layer) ? wage_depth_packed_size(layer) : wage_linear_packed_size(layer);
}

static size_t wage_workspace_size(const wage_layer *layer, int32_t threads) {
    if (wage_is_depthwise(layer)) return wage_depth_workspace_size(layer, threads);
    const size_t linear = wage_linear_workspace(layer), gradient = wage_gradient_workspace(layer, threads);
    return linear > gradient ? linear : gradient;
}

static void wage_pack_codes(const wage_layer *layer, const void *codes, void *packed, int32_t training,
                            const wage_team *team) {
    if (wage_is_depthwise(layer)) wage_depth_pack(layer, codes, packed, team);
    else wage_linear_pack(layer, codes, packed, training, team);
}

static void wage_forward(const wage_layer *layer, const void *packed, const wage_image *x, const wage_image *y,
                         uint8_t *gate, int32_t count, void *workspace, const wage_team *team) {
    if (wage_is_depthwise(layer)) wage_depth_forward(layer, packed, x, y, gate, count, team);
    else wage_linear_forward(layer, packed, x, y, gate, count, workspace, team);
}

static int64_t wage_error(const wage_layer *layer, const void *packed, const wage_image *e, void *sums,
                          const uint8_t *gate, int32_t count, void *workspace, const wage_team *team) {
    if (wage_is_depthwise(layer)) return wage_depth_error(layer, packed, e, sums, gate, count, team);
    return wage_linear_error(layer, packed, e, sums, gate, count, workspace, team);
}

static int64_t wage_gradient(const wage_layer *layer, const wage_image *x, const wage_image *e, void *sums, int32_t count,
                             void *workspace, const wage_team *team) {
    if (wage_is_depthwise(layer)) return wage_depth_gradient(layer, x, e, sums, count, workspace, team);
    return wage_linear_gradient(layer, x, e, sums, count, workspace, team);
}

#define WAGE_TABLE(NAME)                                                                                              \
    {                                                                                                                 \
        .name = NAME, .nodes = &wage_nodes_here, .e_zero = WAGE_ZERO, .takes = wage_takes,                            \
        .packed_size = wage_packed_size, .workspace_size = wage_workspace_size, .pack = wage_pack_codes,              \
        .forward = wage_forward, .error = wage_error, .gradient = wage_gradient,                                      \
        .round_errors = wage_linear_round_errors, .update = wage_linear_update,                                       \
    }

#endif
