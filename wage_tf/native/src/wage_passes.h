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

static size_t wage_linear_workspace_size(const wage_layer *layer, int32_t threads) {
    const size_t linear = wage_linear_workspace(layer), gradient = wage_gradient_workspace(layer, threads);
    return linear > gradient ? linear : gradient;
}

#define WAGE_TABLE(NAME)                                                                                              \
    {                                                                                                                 \
        .name = NAME, .nodes = &wage_nodes_here, .e_zero = WAGE_ZERO, .takes = wage_linear_takes,                     \
        .packed_size = wage_linear_packed_size, .workspace_size = wage_linear_workspace_size,                         \
        .pack = wage_linear_pack, .forward = wage_linear_forward, .error = wage_linear_error,                         \
        .gradient = wage_linear_gradient, .round_errors = wage_linear_round_errors, .update = wage_linear_update,     \
    }

#endif
