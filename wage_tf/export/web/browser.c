/* What the page needs besides the runtime: kernels for its tables, the codes of its weights, and two functions of C's
 * library that compilers call on their own. */
#include "wage_run.h"

void *memset(void *to, int value, size_t count) {
    unsigned char *bytes = to;
    while (count--) *bytes++ = (unsigned char)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t count) {
    unsigned char *bytes = to;
    const unsigned char *others = from;
    while (count--) *bytes++ = *others++;
    return to;
}

static int64_t code_of(const wage_rule *rule, int64_t stored) {
    if (rule->code_limit == 0) return stored >= 0 ? 1 : -1;
    return wage_clip(wage_round_shift(stored, rule->code_shift), rule->code_limit);
}

/* Makes a network ready that was laid out elsewhere: its tables do not know the address of the kernels, and of weights
 * that are trained only the stored numbers came. */
void wage_start(wage_net *net, const wage_state *state) {
    wage_node *nodes = (wage_node *)(uintptr_t)net->nodes;
    net->kernels = net->wide ? &wage_portable_wide : &wage_portable;
    for (int32_t i = 0; i < net->node_count; ++i) nodes[i].kernels = net->kernels;
    for (int32_t i = 0; i < net->weights_count; ++i) {
        const wage_rule *rule = &net->rules[i];
        const wage_weights *weights = &state->weights[i];
        if (!weights->codes || !weights->stored) continue;
        for (int64_t j = 0; j < rule->size; ++j) {
            const int64_t code = code_of(rule, wage_stored(weights->stored, rule->stored_bytes, j));
            wage_set_stored(weights->codes, (int32_t)wage_code_bytes(net), j, code);
        }
    }
}
