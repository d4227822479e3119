/*
 * Training on the device: forward, backward and update of the stored weights, integers only, bit for bit the Python engine.
 *
 * There is no buffer for gradients and none for the sums of errors: both are made twice, once for their maximum, which
 * decides the shift, and once to be rounded. Sums are taken CHUNK at a time on the stack.
 */
#include "wage_train.h"

#include <stddef.h>

#include "wage_integers.h"

enum { CHUNK = 64, RANDOM_BITS = 16, LOWEST_RATE = -62, HIGHEST_RATE = 30 };

static int8_t *codes_at(wage_network *network, int32_t place)
{
    return (int8_t *)network->arena + place;
}

static uint8_t *gates_at(wage_network *network, int32_t place)
{
    return (uint8_t *)network->arena + place;
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t larger(int32_t largest, int32_t x)
{
    const int32_t size = x < 0 ? -x : x;
    return size > largest ? size : largest;
}

/* The shift of Q_E for errors of that maximum. */
static int32_t error_shift(int32_t largest, int32_t limit)
{
    int32_t shift = largest > 0 ? wage_shift_exponent_32(largest) : 0;
    for (; limit > 0; limit >>= 1)
        shift--;
    return shift;
}

/* Q_E of the scores' error y - t, then the gate of the last layer's output. */
static void start_errors(wage_network *network, const int32_t *scores, const uint8_t *labels, int32_t count)
{
    const wage_layer *last = &wage_layers[WAGE_LAYERS - 1];
    const uint8_t *gates = gates_at(network, last->gates);
    int8_t *errors = codes_at(network, last->errors);
    int32_t largest = 0, shift = 0, pass, i;
    for (pass = 0; pass < 2; pass++) {
        for (i = 0; i < count * WAGE_OUTPUTS; i++) {
            const int is_label = i % WAGE_OUTPUTS == labels[i / WAGE_OUTPUTS];
            const int32_t error = scores[i] - (is_label ? (int32_t)1 << WAGE_FRACTION_BITS : 0);
            if (pass == 0)
                largest = larger(largest, error);
            else
                errors[i] = (int8_t)(gates[i] == WAGE_OPEN ? wage_rounded(error, 0, shift, last->error_limit) : 0);
        }
        shift = error_shift(largest, last->error_limit);
    }
}

/* The output whose window begins at `at`, a row or column of the padded image; -1 where there is none. */
static int32_t window_at(int32_t at, int32_t stride, int32_t pool, int32_t outputs)
{
    return at >= 0 && at % stride == 0 && at / stride / pool < outputs ? at / stride : -1;
}

/* The error of `count` channels from c on of one pixel of a layer's input. */
static void input_error(wage_network *network, const wage_layer *layer, int32_t image, int32_t y, int32_t x, int32_t c,
                        int32_t count, int32_t *sums)
{
    const int32_t channels = layer->in_c / layer->groups, filters = layer->out_c / layer->groups;
    const int32_t first = c / channels * filters, taps = layer->window_h * layer->window_w;
    const int is_pooled = layer->pool_h * layer->pool_w > 1;
    const int8_t *stored = network->stored + layer->stored, *errors = codes_at(network, layer->errors);
    const uint8_t *gates = gates_at(network, layer->gates);
    int32_t i, j, f, k;
    for (k = 0; k < count; k++)
        sums[k] = 0;
    for (i = 0; i < layer->window_h; i++) {
        const int32_t row = window_at(y + layer->pad_h - i * layer->dilation_h, layer->stride_h, layer->pool_h,
                                      layer->out_h);
        for (j = 0; j < layer->window_w && row >= 0; j++) {
            const int32_t column = window_at(x + layer->pad_w - j * layer->dilation_w, layer->stride_w, layer->pool_w,
                                             layer->out_w);
            const int32_t pixel = (image * layer->out_h + row / layer->pool_h) * layer->out_w + column / layer->pool_w;
            const int32_t here = row % layer->pool_h * layer->pool_w + column % layer->pool_w;
            const int32_t tap = (i * layer->window_w + j) * channels + c % channels;
            for (f = column < 0 ? layer->out_c : first; f < first + filters; f++) {
                const int8_t *weights = stored + f * taps * channels + tap;
                const int32_t error = errors[pixel * layer->out_c + f];
                if (error == 0 || (is_pooled && gates[pixel * layer->out_c + f] / WAGE_PLACE != here))
                    continue;
                for (k = 0; k < count; k++)
                    sums[k] += error * layer->codes[(uint8_t)weights[k]];
            }
        }
    }
}

/* The errors of the layer before: the mask of Q_A, Q_E, the mask of ReLU. */
static void pass_errors(wage_network *network, const wage_layer *layer, const wage_layer *before, int32_t count)
{
    const int32_t channels = layer->in_c / layer->groups;
    const uint8_t *gates = gates_at(network, before->gates);
    int8_t *errors = codes_at(network, before->errors);
    int32_t sums[CHUNK], largest = 0, shift = 0, pass, pixel, c, k, size;
    for (pass = 0; pass < 2; pass++) {
        for (pixel = 0; pixel < count * layer->in_h * layer->in_w; pixel++) {
            const int32_t y = pixel / layer->in_w % layer->in_h, x = pixel % layer->in_w;
            for (c = 0; c < layer->in_c; c += size) {
                const int32_t at = pixel * layer->in_c + c;
                size = smaller(CHUNK, channels - c % channels);
                input_error(network, layer, pixel / (layer->in_h * layer->in_w), y, x, c, size, sums);
                for (k = 0; k < size; k++) {
                    const int32_t sum = gates[at + k] & WAGE_CLIPPED ? 0 : sums[k];
                    if (pass == 0)
                        largest = larger(largest, sum);
                    else
                        errors[at + k] = (int8_t)(gates[at + k] & WAGE_OPEN
                                                      ? wage_rounded(sum, 0, shift, before->error_limit) : 0);
                }
            }
        }
        shift = error_shift(largest, before->error_limit);
    }
}

/* The gradient of `size` weights of a filter, from channel c of tap (i, j) on. */
static void gradient(wage_network *network, const wage_layer *layer, int32_t count, int32_t filter, int32_t i, int32_t j,
                     int32_t c, int32_t size, int32_t *sums)
{
    const int32_t base = filter / (layer->out_c / layer->groups) * (layer->in_c / layer->groups) + c;
    const int8_t *error = codes_at(network, layer->errors) + filter;
    const uint8_t *gate = gates_at(network, layer->gates) + filter;
    const int is_pooled = layer->pool_h * layer->pool_w > 1;
    int32_t image, y, x, k;
    for (k = 0; k < size; k++)
        sums[k] = 0;
    for (image = 0; image < count; image++) {
        const int8_t *input = codes_at(network, layer->input) + image * layer->in_h * layer->in_w * layer->in_c + base;
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

/* The rule of one layer's update at one step. */
typedef struct rule {
    int32_t shift; /* log2(Shift(max|g|) / eta) */
    uint32_t keys[2];
    uint32_t most; /* steps that reach across all weights */
    int32_t grid, limit;
} rule;

/* W - Q_G(g), clipped: |g| / 2^shift steps, the fraction of a step with its probability. */
static int8_t updated(const rule *rule, int32_t weight, int32_t sum, uint32_t index)
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
    return (int8_t)(weight > rule->limit ? rule->limit : weight < -rule->limit ? -rule->limit : weight);
}

/* The largest gradient of a layer, or with a rule: the update by every gradient. The random number of a weight is that of
 * its place among [window_h][window_w][channels / groups][filters]. */
static int32_t over_gradients(wage_network *network, const wage_layer *layer, int32_t count, const rule *rule)
{
    const int32_t channels = layer->in_c / layer->groups;
    int8_t *weights = network->stored + layer->stored;
    int32_t sums[CHUNK], largest = 0, filter, i, j, c, k;
    for (filter = 0; filter < layer->out_c; filter++) {
        for (i = 0; i < layer->window_h; i++) {
            for (j = 0; j < layer->window_w; j++) {
                for (c = 0; c < channels; c += CHUNK) {
                    const int32_t size = smaller(CHUNK, channels - c);
                    uint32_t index = (uint32_t)(((i * layer->window_w + j) * channels + c) * layer->out_c + filter);
                    gradient(network, layer, count, filter, i, j, c, size, sums);
                    for (k = 0; k < size; k++, weights++, index += (uint32_t)layer->out_c) {
                        if (rule == NULL)
                            largest = larger(largest, sums[k]);
                        else if (sums[k] != 0)
                            *weights = updated(rule, *weights, sums[k], index);
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
    int32_t input = 0, error = 0, i;
    if (count * layer->in_h * layer->in_w > 1 || layer->groups > 1)
        return over_gradients(network, layer, count, NULL);
    for (i = 0; i < layer->in_c; i++)
        input = larger(input, codes_at(network, layer->input)[i]);
    for (i = 0; i < layer->out_c; i++)
        error = larger(error, codes_at(network, layer->errors)[i]);
    return input * error;
}

static void update(wage_network *network, const wage_layer *layer, int32_t count)
{
    const uint32_t golden = UINT32_C(0x9E3779B9);
    const int32_t largest = largest_gradient(network, layer, count);
    rule rule;
    if (largest == 0)
        return;
    rule.shift = wage_shift_exponent_32(largest) - network->log2_rate;
    rule.keys[0] = wage_mix(WAGE_SEED + golden * layer->variable);
    rule.keys[1] = wage_mix(network->step ^ golden);
    rule.grid = layer->grid;
    rule.limit = layer->limit;
    rule.most = ((uint32_t)layer->limit * 2 >> layer->grid) + 1;
    over_gradients(network, layer, count, &rule);
}

void wage_network_init(wage_network *network)
{
    int32_t i;
    for (i = 0; i < WAGE_STORED; i++)
        network->stored[i] = wage_initial[i];
    network->step = WAGE_STEP;
    network->log2_rate = WAGE_LOG2_RATE;
}

int wage_network_set_learning_rate(wage_network *network, int log2)
{
    if (log2 < LOWEST_RATE || log2 > HIGHEST_RATE)
        return WAGE_RATE;
    network->log2_rate = log2;
    return WAGE_OK;
}

int wage_network_train_step(wage_network *network, const uint8_t *images, const uint8_t *labels, int32_t count)
{
    int32_t i;
    if (count < 1 || count > WAGE_BATCH)
        return WAGE_COUNT;
    for (i = 0; i < count; i++)
        if (labels[i] >= WAGE_OUTPUTS)
            return WAGE_LABEL;
    start_errors(network, wage_forward(network, images, count, 1), labels, count);
    for (i = WAGE_LAYERS - 1; i >= 0; i--) {
        if (i > 0)
            pass_errors(network, &wage_layers[i], &wage_layers[i - 1], count);
        update(network, &wage_layers[i], count);
    }
    network->step++;
    return WAGE_OK;
}

/* The block: "WAGB", version, length, model, step, log2 of the rate, the weights, CRC-32; numbers little endian. */
enum { VERSION = 1, HEADER = 24 };

static void put(uint8_t *bytes, uint32_t word)
{
    int i;
    for (i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(word >> 8 * i);
}

static uint32_t get(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t crc_of(const uint8_t *bytes, int32_t count)
{
    uint32_t crc = UINT32_MAX;
    int32_t i;
    int bit;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (UINT32_C(0xEDB88320) & (0u - (crc & 1)));
    }
    return ~crc;
}

static const uint32_t MAGIC = UINT32_C(0x42474157);

void wage_network_save(const wage_network *network, uint8_t *block)
{
    int32_t i;
    put(block, MAGIC);
    put(block + 4, VERSION);
    put(block + 8, WAGE_BLOCK_BYTES);
    put(block + 12, WAGE_MODEL);
    put(block + 16, network->step);
    put(block + 20, (uint32_t)network->log2_rate);
    for (i = 0; i < WAGE_STORED; i++)
        block[HEADER + i] = (uint8_t)network->stored[i];
    put(block + HEADER + WAGE_STORED, crc_of(block, HEADER + WAGE_STORED));
}

/* A byte as a signed number. */
static int32_t signed_of(uint8_t byte)
{
    return byte < 128 ? byte : byte - 256;
}

static int has_sound_weights(const uint8_t *weights)
{
    int32_t layer, i;
    for (layer = 0; layer < WAGE_LAYERS; layer++) {
        const int32_t limit = wage_layers[layer].limit;
        const int32_t end = layer + 1 < WAGE_LAYERS ? wage_layers[layer + 1].stored : WAGE_STORED;
        for (i = wage_layers[layer].stored; i < end; i++)
            if (signed_of(weights[i]) > limit || signed_of(weights[i]) < -limit)
                return 0;
    }
    return 1;
}

int wage_network_load(wage_network *network, const uint8_t *block, int32_t size)
{
    int32_t log2_rate, i;
    if (size != WAGE_BLOCK_BYTES || get(block) != MAGIC || get(block + 4) != VERSION || get(block + 8) != WAGE_BLOCK_BYTES)
        return WAGE_BLOCK;
    if (get(block + HEADER + WAGE_STORED) != crc_of(block, HEADER + WAGE_STORED))
        return WAGE_BLOCK;
    if (get(block + 12) != WAGE_MODEL)
        return WAGE_FOREIGN;
    log2_rate = block[23] < 128 ? (int32_t)get(block + 20) : -(int32_t)~get(block + 20) - 1;
    if (log2_rate < LOWEST_RATE || log2_rate > HIGHEST_RATE || !has_sound_weights(block + HEADER))
        return WAGE_BLOCK;
    for (i = 0; i < WAGE_STORED; i++)
        network->stored[i] = (int8_t)signed_of(block[HEADER + i]);
    network->step = get(block + 16);
    network->log2_rate = log2_rate;
    return WAGE_OK;
}
