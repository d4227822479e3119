/* A network's passes: the order of the nodes, the linear layers, and the waits between them. */
#include "wage_run.h"

static const uint32_t GOLDEN = UINT32_C(0x9E3779B9);

/* Fills the border of a tensor of codes with the code `zero`. */
static void fill_border(const wage_run *run, const wage_tensor *tensor, int32_t zero) {
    const size_t bytes = wage_code_bytes(run->net), width = bytes * (size_t)tensor->channels;
    const size_t row_bytes = width * (size_t)tensor->columns;
    const size_t left = width * (size_t)tensor->left, right = width * (size_t)(tensor->left + tensor->width);
    int64_t first, last;
    if (tensor->sums || (tensor->rows == tensor->height && tensor->columns == tensor->width)) return;
    wage_share(run->team, (int64_t)run->count * tensor->rows, 1, &first, &last);
    for (int64_t i = first; i < last; ++i) {
        uint8_t *row = (uint8_t *)wage_at(run, tensor->data) + (size_t)i * row_bytes;
        const int64_t y = i % tensor->rows - tensor->top;
        const int inside = y >= 0 && y < tensor->height;
        for (size_t j = 0; j < (inside ? left : row_bytes); ++j) row[j] = (uint8_t)zero;
        for (size_t j = inside ? right : row_bytes; j < row_bytes; ++j) row[j] = (uint8_t)zero;
    }
}

static const void *packed_codes(const wage_run *run, const wage_node *node) {
    const wage_weights *weights = &run->state->weights[node->weights];
    return node->kernels->packed_size(&node->layer) ? weights->packed : weights->codes;
}

static void pack(const wage_run *run, const wage_node *node, int32_t training) {
    const wage_weights *weights = &run->state->weights[node->weights];
    if (node->kernels->packed_size(&node->layer) == 0) return;
    node->kernels->pack(&node->layer, weights->codes, weights->packed, training, run->team);
}

static void linear(const wage_run *run, const wage_node *node) {
    const wage_tensor *in = &run->net->tensors[node->input], *out = &run->net->tensors[node->output];
    const wage_image x = wage_image_of(run, in), y = wage_image_of(run, out);
    node->kernels->forward(&node->layer, packed_codes(run, node), &x, &y, run->labels ? wage_at(run, out->gate) : NULL,
                           run->count, wage_at(run, node->workspace), run->team);
}

/* Whether a node has weights that a step changes. */
static int trains(const wage_run *run, const wage_node *node) {
    return node->weights != WAGE_NONE && run->net->rules[node->weights].trained && node->gradient != WAGE_NONE;
}

static wage_rate rate_of(const wage_run *run, const wage_rule *rule, int64_t largest) {
    wage_rate rate;
    rate.shift = wage_shift_exponent(largest) - run->state->log2_eta;
    rate.keys[0] = wage_mix(run->state->seed + GOLDEN * rule->variable);
    rate.keys[1] = wage_mix(run->state->step ^ GOLDEN);
    rate.random_width = run->state->random_width;
    rate.grid = rule->grid;
    rate.limit = rule->limit;
    rate.code_shift = rule->code_shift;
    rate.code_limit = rule->code_limit;
    return rate;
}

/* IntegerSGD on one kernel, whose old codes nobody needs any more. */
static void update_kernel(const wage_run *run, const wage_node *node, int64_t largest) {
    const wage_rule *rule = &run->net->rules[node->weights];
    const wage_weights *weights = &run->state->weights[node->weights];
    const wage_rate rate = rate_of(run, rule, largest);
    node->kernels->update(&rate, wage_at(run, node->gradient), node->layer.wide_gradient, weights->stored,
                          rule->stored_bytes, weights->codes, rule->size, run->team);
    wage_wait(run->team);
    pack(run, node, 1);
}

/* The same for a bias, which is its own codes. */
static void update_bias(const wage_run *run, const wage_node *node, int64_t largest) {
    const wage_rule *rule = &run->net->rules[node->weights];
    void *stored = run->state->weights[node->weights].stored;
    const int64_t *sums = wage_at(run, node->gradient);
    int64_t first, last;
    const wage_rate rate = rate_of(run, rule, largest);
    wage_share(run->team, rule->size, 64, &first, &last);
    for (int64_t i = first; i < last; ++i) {
        const int64_t value = wage_stored(stored, rule->stored_bytes, i) - wage_update_step(&rate, sums[i], (uint32_t)i);
        wage_set_stored(stored, rule->stored_bytes, i, wage_clip(value, rate.limit));
    }
}

/* The update of a node's weights, whose gradient is there. */
static void update(const wage_run *run, const wage_node *node) {
    if (!trains(run, node)) return;
    const int64_t largest = wage_largest(run, run->net->tensor_count + node->weights);
    if (largest == 0) return;
    if (node->kind == WAGE_LINEAR) update_kernel(run, node, largest);
    else update_bias(run, node, largest);
    wage_wait(run->team);
}

/* Q_E and the masks give the codes of the error of the layer's sums; from those come the error of its input, by the
 * weights of the forward pass, and the gradient. */
static void linear_back(const wage_run *run, const wage_node *node) {
    const wage_tensor *in = &run->net->tensors[node->input], *out = &run->net->tensors[node->output];
    const wage_layer *layer = &node->layer;
    const wage_image x = wage_image_of(run, in), e = wage_image_of(run, &node->errors);
    void *workspace = wage_at(run, node->workspace);
    wage_rounding rounding = {0, run->net->wide ? INT16_MAX : INT8_MAX};
    int32_t fraction = *wage_fraction(run, node->output);
    if (node->error_limit) {
        rounding = wage_error_rounding(wage_largest(run, node->output), node->error_limit);
        fraction -= rounding.shift;
    }
    fill_border(run, &node->errors, layer->e_zero);
    node->kernels->round_errors(layer, &rounding, wage_at(run, out->error), wage_at(run, out->gate), &e, run->count,
                                run->team);
    wage_wait(run->team);
    if (in->error != WAGE_NONE) {
        wage_note(run, node->input, node->kernels->error(layer, packed_codes(run, node), &e, wage_at(run, in->error),
                                                         wage_at(run, in->gate), run->count, workspace, run->team));
        *wage_fraction(run, node->input) = fraction + node->error_fraction;
        wage_wait(run->team);
    }
    if (!trains(run, node)) return;
    wage_note(run, run->net->tensor_count + node->weights,
              node->kernels->gradient(layer, &x, &e, wage_at(run, node->gradient), run->count, workspace, run->team));
}

static void forward(wage_run *run) {
    const wage_node_function *functions = run->net->kernels->nodes->forward;
    for (int32_t i = 0; i < run->net->node_count; ++i) {
        const wage_node *node = &run->net->nodes[i];
        if (node->kind != WAGE_LINEAR && !functions[node->kind]) continue;
        fill_border(run, &run->net->tensors[node->output], 0);
        if (node->kind == WAGE_LINEAR) linear(run, node);
        else functions[node->kind](run, node);
        wage_wait(run->team);
    }
}

static void node_back(wage_run *run, const wage_node *node) {
    const wage_node_function *functions = run->net->kernels->nodes->backward;
    if (run->net->tensors[node->output].error == WAGE_NONE) return;
    if (node->kind == WAGE_LINEAR) linear_back(run, node);
    else if (functions[node->kind]) functions[node->kind](run, node);
    wage_wait(run->team);
    if (node->kind == WAGE_ADD && trains(run, node)) {
        wage_note(run, run->net->tensor_count + node->weights, run->net->kernels->nodes->bias_gradient(run, node));
        wage_wait(run->team);
    }
}

/* The first node in which errors meet, the last that can fail: no weights change before; or the number of nodes. */
static int32_t first_meeting(const wage_net *net) {
    int32_t i = 0;
    while (i < net->node_count && (net->nodes[i].kind != WAGE_FORK || net->nodes[i].way_count < 2)) ++i;
    return i;
}

static void backward(wage_run *run) {
    const wage_net *net = run->net;
    const int32_t last = net->node_count - 1, meeting = first_meeting(net);
    if (net->tensors[net->scores].error == WAGE_NONE) return; /* nothing is trained */
    net->kernels->nodes->loss(run);
    wage_wait(run->team);
    for (int32_t i = last; i >= 0; --i) {
        node_back(run, &net->nodes[i]);
        if (run->status != WAGE_OK) return;
        for (int32_t j = last; i == meeting && j > i; --j) update(run, &net->nodes[j]);
        if (i < meeting) update(run, &net->nodes[i]);
    }
}

void wage_pack(const wage_net *net, const wage_state *state, int32_t training, const wage_team *team) {
    const wage_run run = {net, state, NULL, NULL, 0, team, WAGE_OK};
    for (int32_t i = 0; i < net->node_count; ++i) {
        if (net->nodes[i].kind == WAGE_LINEAR) pack(&run, &net->nodes[i], training);
    }
    wage_wait(team);
}

int32_t wage_infer(const wage_net *net, const wage_state *state, const uint8_t *images, int32_t count,
                   const wage_team *team) {
    wage_run run = {net, state, images, NULL, count, team, WAGE_OK};
    if (count < 1 || count > net->batch) return WAGE_COUNT;
    forward(&run);
    return WAGE_OK;
}

int32_t wage_train_step(const wage_net *net, const wage_state *state, const uint8_t *images, const int32_t *labels,
                        int32_t count, const wage_team *team) {
    wage_run run = {net, state, images, labels, count, team, WAGE_OK};
    if (count < 1 || count > net->batch) return WAGE_COUNT;
    for (int32_t i = 0; i < count; ++i) {
        if (labels[i] < 0 || labels[i] >= net->classes) return WAGE_LABEL;
    }
    forward(&run);
    backward(&run);
    return run.status;
}
