/*
 * The update of a layer's stored weights, bit for bit the Python engine.
 *
 * There is no buffer for gradients: they are made twice, once for their maximum, which decides the shift, and once to be
 * rounded. Sums are taken CHUNK at a time on the stack.
 */
#include "wage_train.h"

#include <stddef.h>

#include "wage_integers.h"

enum { CHUNK = 64, RANDOM_BITS = 16 };

static int32_t larger(int32_t largest, int32_t x)
{
    const int32_t size = x < 0 ? -x : x;
    return size > largest ? size : largest;
}

/* The gradient of `size` weights of a filter, from channel c of tap (i, j) on. */
static void gradient(wage_network *network, const wage_layer *layer, int32_t count, int32_t filter, int32_t i, int32_t j,
                     int32_t c, int32_t size, int32_t *sums)
{
    const int32_t base = filter / (layer->out_c / layer->groups) * (layer->in_c / layer->groups) + c;
    const int8_t *error = wage_codes_at(network, wage_errors_of[layer->errors].errors) + filter;
    const uint8_t *gate = wage_gates_at(network, wage_errors_of[layer->errors].gates) + filter;
    const int is_pooled = layer->pool_h * layer->pool_w > 1;
    int32_t image, y, x, k;
    for (k = 0; k < size; k++)
        sums[k] = 0;
    for (image = 0; image < count; image++) {
        const int8_t *input = wage_codes_at(network, layer->input) + image * layer->in_h * layer->in_w * layer->in_c + base;
        for (y = 0; y < layer->out_h; y++) {
            for (x = 0; x < layer->out_w; x++, error += layer->out_c, gate += layer->out_c) {
                const int32_t place = is_pooled ? *gate / WAGE_PLACE : 0;
                const int32_t row = (y * layer->pool_h + place / layer->pool_w) * layer->stride_h +
                                    i * layer->dilation_h - layer->pad_h;
                const int32_t column = (x * layer->pool_w + place % layer->pool_w) * layer->stride_w +
                                       j * layer->dilation_w - layer->pad_w;
                const int is_outside = row < 0 || row >= layer->in_h || column < 0 || column >= layer->in_w;
                if (*error == 0 || is_outside)
                    continue;
                for (k = 0; k < size; k++)
                    sums[k] += *error * input[(row * layer->in_w + column) * layer->in_c + k];
            }
        }
    }
}

/* The rule of an update at one step. */
typedef struct rule {
    int32_t shift; /* log2(Shift(max|g|) / eta) */
    uint32_t keys[2];
    uint32_t most; /* steps that reach across all weights */
    int32_t grid, limit;
} rule;

/* The rule for a largest gradient above 0. */
static rule rule_of(const wage_network *network, const wage_parameter *parameter, int32_t largest)
{
    const uint32_t golden = UINT32_C(0x9E3779B9);
    rule rule;
    rule.shift = wage_shift_exponent_32(largest) - network->log2_rate;
    rule.keys[0] = wage_mix(WAGE_SEED + golden * parameter->variable);
    rule.keys[1] = wage_mix(network->step ^ golden);
    rule.grid = parameter->grid;
    rule.limit = parameter->limit;
    rule.most = ((uint32_t)parameter->limit * 2 >> parameter->grid) + 1;
    return rule;
}

/* W - Q_G(g), clipped: |g| / 2^shift steps, the fraction of a step with its probability. */
static int32_t updated(const rule *rule, int32_t weight, int32_t sum, uint32_t index)
{
    const uint32_t size = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
    uint32_t steps;
    if (rule->shift <= 0) {
        steps = size << -rule->shift;
    } else {
        const int32_t excess = rule->shift - RANDOM_BITS;
        const uint32_t rest = rule->shift > 31 ? size : size & ((UINT32_C(1) << rule->shift) - 1);
        uint32_t bound;
        if (excess <= 0)
            bound = rest << -excess;
        else if (excess > 31)
            bound = rest > 0;
        else
            bound = (rest >> excess) + ((rest & ((UINT32_C(1) << excess) - 1)) != 0);
        steps = (rule->shift > 31 ? 0 : size >> rule->shift) + (wage_random(rule->keys, index, RANDOM_BITS) < bound);
    }
    steps = (steps > rule->most ? rule->most : steps) << rule->grid;
    weight += sum < 0 ? (int32_t)steps : -(int32_t)steps;
    return weight > rule->limit ? rule->limit : weight < -rule->limit ? -rule->limit : weight;
}

/* The largest gradient of a layer, or with a rule: the update by every gradient. The random number of a weight is that of
 * its place among [window_h][window_w][channels / groups][filters]. */
static int32_t over_gradients(wage_network *network, const wage_layer *layer, int32_t count, const rule *rule)
{
    const int32_t channels = layer->in_c / layer->groups;
    int8_t *weights = network->stored + wage_parameters[layer->kernel].first;
    int32_t sums[CHUNK], largest = 0, filter, i, j, c, k;
    for (filter = 0; filter < layer->out_c; filter++) {
        for (i = 0; i < layer->window_h; i++) {
            for (j = 0; j < layer->window_w; j++) {
                for (c = 0; c < channels; c += CHUNK) {
                    const int32_t size = wage_smaller(CHUNK, channels - c);
                    uint32_t index = (uint32_t)(((i * layer->window_w + j) * channels + c) * layer->out_c + filter);
                    gradient(network, layer, count, filter, i, j, c, size, sums);
                    for (k = 0; k < size; k++, weights++, index += (uint32_t)layer->out_c) {
                        if (rule == NULL)
                            largest = larger(largest, sums[k]);
                        else if (sums[k] != 0)
                            *weights = (int8_t)updated(rule, *weights, sums[k], index);
                    }
                }
            }
        }
    }
    return largest;
}

/* The largest gradient; that of one image through a matrix product is the largest input times the largest error. */
static int32_t largest_gradient(wage_network *network, const wage_layer *layer, int32_t count)
{
    const int8_t *inputs = wage_codes_at(network, layer->input);
    const int8_t *errors = wage_codes_at(network, wage_errors_of[layer->errors].errors);
    int32_t input = 0, error = 0, i;
    if (count * layer->in_h * layer->in_w > 1 || layer->groups > 1)
        return over_gradients(network, layer, count, NULL);
    for (i = 0; i < layer->in_c; i++)
        input = larger(input, inputs[i]);
    for (i = 0; i < layer->out_c; i++)
        error = larger(error, errors[i]);
    return input * error;
}

#if WAGE_BIASES > 0
/* The gradient of a bias is the sum of its errors: the largest of a layer, or with a rule the update. */
static int32_t over_bias_gradients(wage_network *network, const wage_layer *layer, int32_t count, const rule *rule)
{
    const int8_t *errors = wage_codes_at(network, wage_errors_of[layer->errors].errors);
    int32_t *biases = network->biases + wage_parameters[layer->bias].first;
    int32_t largest = 0, filter, i;
    for (filter = 0; filter < layer->out_c; filter++) {
        int32_t sum = 0;
        for (i = 0; i < count * layer->out_h * layer->out_w; i++)
            sum += errors[i * layer->out_c + filter];
        largest = larger(largest, sum);
        if (rule != NULL && sum != 0)
            biases[filter] = updated(rule, biases[filter], sum, (uint32_t)filter);
    }
    return largest;
}

static void update_bias(wage_network *network, const wage_layer *layer, int32_t count)
{
    const int32_t largest = layer->bias < 0 ? 0 : over_bias_gradients(network, layer, count, NULL);
    if (largest > 0) {
        const rule rule = rule_of(network, &wage_parameters[layer->bias], largest);
        over_bias_gradients(network, layer, count, &rule);
    }
}
#endif

void wage_update(wage_network *network, const wage_layer *layer, int32_t count)
{
    const int32_t largest = largest_gradient(network, layer, count);
    if (largest > 0) {
        const rule rule = rule_of(network, &wage_parameters[layer->kernel], largest);
        over_gradients(network, layer, count, &rule);
    }
#if WAGE_BIASES > 0
    update_bias(network, layer, count);
#endif
}
