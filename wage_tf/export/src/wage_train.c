/*
 * A training step on the device: forward, backward and update of the stored weights, integers only, bit for bit the Python
 * engine.
 *
 * There is no buffer for the sums of errors: they are made twice, once for their maximum, which decides the shift, and once
 * to be rounded. Sums are taken CHUNK at a time on the stack. Errors that meet are brought to the finest of their fractions;
 * where they can pass 32 bits by that, or those of the scores can, sums of errors are numbers of 64.
 */
#include "wage_train.h"

#include <stddef.h>

#include "wage_integers.h"

enum { CHUNK = 64 };

#if WAGE_WIDE
typedef int64_t sum_type;
typedef uint64_t size_type;
#define SHIFT_EXPONENT wage_shift_exponent
#else
typedef int32_t sum_type;
typedef uint32_t size_type;
#define SHIFT_EXPONENT wage_shift_exponent_32
#endif

static sum_type larger(sum_type largest, sum_type x)
{
    const sum_type size = x < 0 ? -x : x;
    return size > largest ? size : largest;
}

/* The shift of Q_E for errors of that maximum. */
static int32_t error_shift(sum_type largest, int32_t limit)
{
    int32_t shift = largest > 0 ? SHIFT_EXPONENT(largest) : 0;
    for (; limit > 0; limit >>= 1)
        shift--;
    return shift;
}

/* Q_E: a shift that rounds half to even, and a clip. */
static int8_t rounded(sum_type error, int32_t shift, int32_t limit)
{
    const size_type most = (size_type)limit;
    size_type size = error < 0 ? (size_type)0 - (size_type)error : (size_type)error;
    if (shift > 0)
        size = (size + (((size_type)1 << (shift - 1)) - 1) + (size >> shift & 1)) >> shift;
    else
        size = size > most ? most : size << -shift;
    if (size > most)
        size = most;
    return (int8_t)(error < 0 ? -(int32_t)size : (int32_t)size);
}

/* Q_E of the scores' error y - t and the gate of the last layer's output, whose mask of Q_A comes before Q_E or after it.
 * Returns the errors' fraction bits. */
static int32_t start_errors(wage_network *network, const int32_t *scores, const uint8_t *labels, int32_t count)
{
    const wage_errors *last = &wage_errors_of[0];
    const uint8_t *gates = wage_gates_at(network, last->gates);
    int8_t *errors = wage_codes_at(network, last->errors);
    sum_type largest = 0;
    int32_t shift = 0, pass, i;
    for (pass = 0; pass < 2; pass++) {
        for (i = 0; i < count * WAGE_OUTPUTS; i++) {
            const int is_label = i % WAGE_OUTPUTS == labels[i / WAGE_OUTPUTS];
            const sum_type error = (sum_type)scores[i] - (is_label ? (sum_type)1 << WAGE_FRACTION_BITS : 0);
            const int is_clipped = (gates[i] & WAGE_CLIPPED) != 0;
            if (pass == 0)
                largest = WAGE_MASK_FIRST && is_clipped ? largest : larger(largest, error);
            else
                errors[i] = (gates[i] & WAGE_OPEN) && !is_clipped ? rounded(error, shift, last->limit) : 0;
        }
        shift = error_shift(largest, last->limit);
    }
    return WAGE_FRACTION_BITS - shift;
}

/* A run of channels of one pixel of a layer's input, and what its errors are multiplied by. */
typedef struct run {
    const wage_layer *layer;
    int32_t y, x, c, count;
    sum_type scale;
} run;

/* The run in which a source's number i begins, at most `most` long: within the channels of both images and of a group. */
static run run_at(const wage_source *source, int32_t i, int32_t most)
{
    const wage_layer *layer = &wage_layers[source->layer];
    const int32_t pixel = i / source->channels, channel = i % source->channels;
    const int32_t row = pixel / source->columns + source->row, column = pixel % source->columns + source->column;
    const int32_t at = (row * source->whole_columns + column) * source->whole_channels + source->channel + channel;
    const int32_t inputs = layer->groups == layer->in_c ? layer->in_c : layer->in_c / layer->groups;
    run run;
    run.layer = layer;
    run.y = at / layer->in_c / layer->in_w;
    run.x = at / layer->in_c % layer->in_w;
    run.c = at % layer->in_c;
    run.count = wage_smaller(wage_smaller(most, source->channels - channel), inputs - run.c % inputs);
    run.scale = 1;
    return run;
}

/* The output whose window begins at `at`, a row or column of the padded image; -1 where there is none. */
static int32_t window_at(int32_t at, int32_t stride, int32_t pool, int32_t outputs)
{
    return at >= 0 && at % stride == 0 && at / stride / pool < outputs ? at / stride : -1;
}

/* Adds the errors of a pixel of the output, times the weights of a tap. `here` is the tap's place in the pooling's window. */
static void add_pixel(wage_network *network, const run *run, int32_t pixel, int32_t tap, int32_t here, sum_type *sums)
{
    const wage_layer *layer = run->layer;
    const wage_errors *from = &wage_errors_of[layer->errors];
    const int8_t *errors = wage_codes_at(network, from->errors) + pixel * layer->out_c;
    const uint8_t *gates = wage_gates_at(network, from->gates) + pixel * layer->out_c;
    const int8_t *stored = layer->kernel < 0 ? NULL : network->stored + wage_parameters[layer->kernel].first;
    const int32_t channels = layer->in_c / layer->groups, filters = layer->out_c / layer->groups;
    const int32_t first = run->c / channels * filters, taps = layer->window_h * layer->window_w;
    const int32_t past = channels == 1 ? first + run->count * filters : first + filters;
    const int is_pooled = layer->pool_h * layer->pool_w > 1;
    int32_t f, k;
    for (f = first; f < past; f++) {
        const sum_type error = errors[f] * run->scale;
        if (error == 0 || (is_pooled && gates[f] / WAGE_PLACE != here))
            continue;
        if (stored == NULL) {
            sums[f - first] += error;
        } else if (channels == 1) {
            sums[(f - first) / filters] += error * layer->codes[(uint8_t)stored[f * taps + tap]];
        } else {
            const int8_t *weights = stored + (f * taps + tap) * channels + run->c % channels;
            for (k = 0; k < run->count; k++)
                sums[k] += error * layer->codes[(uint8_t)weights[k]];
        }
    }
}

/* Adds what a layer says of the error of a run of its input. */
static void add_errors(wage_network *network, const run *run, int32_t image, sum_type *sums)
{
    const wage_layer *layer = run->layer;
    int32_t i, j;
    for (i = 0; i < layer->window_h; i++) {
        const int32_t row = window_at(run->y + layer->pad_h - i * layer->dilation_h, layer->stride_h, layer->pool_h,
                                      layer->out_h);
        for (j = 0; j < layer->window_w && row >= 0; j++) {
            const int32_t column = window_at(run->x + layer->pad_w - j * layer->dilation_w, layer->stride_w,
                                             layer->pool_w, layer->out_w);
            const int32_t pixel = (image * layer->out_h + row / layer->pool_h) * layer->out_w + column / layer->pool_w;
            if (column >= 0)
                add_pixel(network, run, pixel, i * layer->window_w + j,
                          row % layer->pool_h * layer->pool_w + column % layer->pool_w, sums);
        }
    }
}

/* The sums of all sources from number i of an image on; returns for how many numbers. `fractions` are the errors'. */
static int32_t sum_errors(wage_network *network, const wage_errors *to, const int32_t *fractions, int32_t finest,
                          int32_t image, int32_t i, sum_type *sums)
{
    const wage_source *sources = wage_sources + to->first;
    int32_t size = wage_smaller(CHUNK, to->size - i), s, k;
    for (s = 0; s < to->count; s++)
        size = run_at(&sources[s], i, size).count;
    for (k = 0; k < size; k++)
        sums[k] = 0;
    for (s = 0; s < to->count; s++) {
        run run = run_at(&sources[s], i, size);
        run.scale = (sum_type)1 << (finest - fractions[run.layer->errors] - run.layer->fraction);
        add_errors(network, &run, image, sums);
    }
    return size;
}

/* The errors of an output: the sum of what its readers say, the mask of Q_A, Q_E, the mask of ReLU. Returns their fraction
 * bits. */
static int32_t pass_errors(wage_network *network, const wage_errors *to, int32_t count, const int32_t *fractions)
{
    const uint8_t *gates = wage_gates_at(network, to->gates);
    int8_t *errors = wage_codes_at(network, to->errors);
    sum_type sums[CHUNK], largest = 0;
    int32_t finest = INT32_MIN, shift = 0, pass, image, i, k, size;
    for (i = to->first; i < to->first + to->count; i++) {
        const wage_layer *layer = &wage_layers[wage_sources[i].layer];
        const int32_t fraction = fractions[layer->errors] + layer->fraction;
        finest = fraction > finest ? fraction : finest;
    }
    for (pass = 0; pass < 2; pass++) {
        for (image = 0; image < count; image++) {
            for (i = 0; i < to->size; i += size) {
                const int32_t at = image * to->size + i;
                size = sum_errors(network, to, fractions, finest, image, i, sums);
                for (k = 0; k < size; k++) {
                    const sum_type sum = gates[at + k] & WAGE_CLIPPED ? 0 : sums[k];
                    if (pass == 0)
                        largest = larger(largest, sum);
                    else
                        errors[at + k] = gates[at + k] & WAGE_OPEN ? rounded(sum, shift, to->limit) : 0;
                }
            }
        }
        shift = error_shift(largest, to->limit);
    }
    return finest - shift;
}

int wage_network_train_step(wage_network *network, const uint8_t *images, const uint8_t *labels, int32_t count)
{
    int32_t fractions[WAGE_ERRORS], i;
    if (count < 1 || count > WAGE_BATCH)
        return WAGE_COUNT;
    for (i = 0; i < count; i++) {
        const int32_t label = labels[i]; /* compilers object to asking a byte whether it is 256 */
        if (label >= WAGE_OUTPUTS)
            return WAGE_LABEL;
    }
    fractions[0] = start_errors(network, wage_forward(network, images, count, 1), labels, count);
    for (i = 0; i < WAGE_SCHEDULE; i++) {
        const int32_t place = wage_schedule[i];
        if (place < 0)
            wage_update(network, &wage_layers[~place], count);
        else
            fractions[place] = pass_errors(network, &wage_errors_of[place], count, fractions);
    }
    network->step++;
    return WAGE_OK;
}
