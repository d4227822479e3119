"""The generated C of products and poolings, as `string.Template`s: shared functions, one for every pair of types.

Ternary codes lie four filters to a byte, one byte for every weight of a filter. Two filters share a product: their
codes are the halves of a 32-bit word, so that one multiplication adds to two sums, exact while these stay within 16
bits.
"""

from __future__ import annotations

from string import Template

UNPACK = Template("""\
/* A filter's weights, one a number, into the network's row. */
static void unpack(wage_network *network, const struct step *step, int32_t filter, int32_t count)
{
    const size_t start = (size_t)filter * (size_t)count * step->width;
    const uint8_t *bytes = step->weights + (start >> 3);
    const uint32_t mask = (1u << step->width) - 1, sign = 1u << (step->width - 1);
    uint32_t bits;
    unsigned held = 8 - (unsigned)(start & 7);
    int32_t i;
$stored    bits = (uint32_t)*bytes++ >> (start & 7);
    for (i = 0; i < count; i++) {
        uint32_t word;
        for (; held < step->width; held += 8)
            bits |= (uint32_t)*bytes++ << held;
        word = bits & mask;
        bits >>= step->width;
        held -= step->width;
        network->row[i] =
            (weight_type)(step->width == 1 ? 2 * (int32_t)word - 1 : (int32_t)(word ^ sign) - (int32_t)sign);
    }
}
""")

UNPACK_STORED = """\
    if (step->weights == NULL) {
        const int8_t *stored = network->stored + step->stored + filter * count;
        for (i = 0; i < count; i++)
            network->row[i] = (weight_type)step->codes[(uint8_t)stored[i]];
        return;
    }
"""

PRODUCT = Template("""\
static int32_t ${name}_sum(const weight_type *row, const struct step *step, const $source *in, int32_t filter,
                           int32_t y, int32_t x)
{
    const int32_t channels = step->in_c / step->groups;
    const int32_t base = filter / (step->out_c / step->groups) * channels;
    const int32_t top = y * step->stride_h - step->pad_h, left = x * step->stride_w - step->pad_w;
    const int32_t first = left < 0 ? (step->dilation_w - 1 - left) / step->dilation_w : 0;
    const int32_t room = (step->in_w - left + step->dilation_w - 1) / step->dilation_w;
    const int32_t past = room < step->window_w ? room : step->window_w;
    const int whole = step->groups == 1 && step->dilation_w == 1; /* a row of the window is one run of codes */
    const int32_t taps = whole ? past - first : 1;
    int32_t sum = 0, i, j, k;
    for (i = 0; i < step->window_h; i++) {
        const int32_t place = top + i * step->dilation_h;
        if (place < 0 || place >= step->in_h)
            continue;
        for (j = first; j < past; j += taps) {
            const int32_t column = left + j * step->dilation_w;
            const $source *codes = in + (place * step->in_w + column) * step->in_c + base;
            const weight_type *weights = row + (i * step->window_w + j) * channels;
            for (k = 0; k < taps * channels; k++)
                sum += (int32_t)codes[k] * weights[k];
        }
    }
    return sum;
}

static void $name(wage_network *network, const struct step *step, const $source *in$parameter, $target *out$arguments)
{
    int32_t filter, y, x, i, j$counters;
    for (filter = 0; filter < step->out_c; filter++) {
        unpack(network, step, filter, step->window_h * step->window_w * (step->in_c / step->groups));
$images        for (y = 0; y < step->out_h; y++) {
            for (x = 0; x < step->out_w; x++) {
                const int32_t place = $origin(y * step->out_w + x) * step->out_c + filter;
                int32_t largest = INT32_MIN$winner;
                for (i = 0; i < step->pool_h; i++) {
                    for (j = 0; j < step->pool_w; j++) {
                        const int32_t sum = ${name}_sum(network->row, step, $in, filter, y * step->pool_h + i,
                                                        x * step->pool_w + j);
                        if (sum > largest) {
                            largest = sum;$keep
                        }
                    }
                }
                largest = largest * step->scale + (step->bias != NULL ? step->bias[filter] : 0)$addition;
                out[place] = ($target)rounded(largest, step->relu, step->shift, step->limit);$gate
            }
        }
    }
}
""")

TERNARY_SUMS = Template("""\
/* The four codes of a byte as two words: the lower half of each is one filter's, the upper the next one's. */
static const int32_t pairs[256][2] = {
$pairs
};

enum { AT_ONCE = 256 /* products of codes up to 127 whose sums stay within 16 bits */ };

/* Adds the halves of a word of sums to two sums. */
static void spill(int32_t word, int32_t *sums)
{
    const int32_t low = (int32_t)((uint32_t)(word + 32768) & 65535) - 32768;
    sums[0] += low;
    sums[1] += (word - low) / 65536;
}

/* Adds the products of a run of codes with the weights of four filters. */
static void add_run(const code8 *codes, const uint8_t *weights, int32_t count, int32_t *sums)
{
    while (count > 0) {
        const code8 *end = codes + (count < AT_ONCE ? count : AT_ONCE);
        int32_t first = 0, second = 0;
        count -= AT_ONCE;
        do {
            const int32_t code = *codes++;
            const int32_t *pair = pairs[*weights++];
            first += code * pair[0];
            second += code * pair[1];
        } while (codes != end);
        spill(first, sums);
        spill(second, sums + 2);
    }
}

/* The sums of four filters at one place. */
static void four_sums(const struct step *step, const uint8_t *weights, const code8 *in, int32_t y, int32_t x,
                      int32_t *sums)
{
    const int32_t top = y * step->stride_h - step->pad_h, left = x * step->stride_w - step->pad_w;
    const int32_t first = left < 0 ? (step->dilation_w - 1 - left) / step->dilation_w : 0;
    const int32_t room = (step->in_w - left + step->dilation_w - 1) / step->dilation_w;
    const int32_t past = room < step->window_w ? room : step->window_w;
    const int32_t taps = step->dilation_w == 1 ? past - first : 1; /* those that are one run of codes */
    int32_t i, j;
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    for (i = 0; i < step->window_h; i++) {
        const int32_t row = top + i * step->dilation_h;
        if (row < 0 || row >= step->in_h)
            continue;
        for (j = first; j < past; j += taps) {
            const int32_t column = left + j * step->dilation_w;
            add_run(in + (row * step->in_w + column) * step->in_c, weights + (i * step->window_w + j) * step->in_c,
                    taps * step->in_c, sums);
        }
    }
}
""")

PACKED_FILTERS = """\
/* The codes of four filters. */
static const uint8_t *four_filters(wage_network *network, const struct step *step, int32_t filter, int32_t count)
{
    (void)network;
    return step->weights + filter / 4 * count;
}
"""

STORED_FILTERS = """\
/* The codes of four filters; those of stored weights are packed into the network's row. */
static const uint8_t *four_filters(wage_network *network, const struct step *step, int32_t filter, int32_t count)
{
    const int32_t filters = step->out_c - filter < 4 ? step->out_c - filter : 4;
    const int8_t *stored = network->stored + step->stored + filter * count;
    uint8_t *row = (uint8_t *)network->row;
    int32_t i, k;
    if (step->weights != NULL)
        return step->weights + filter / 4 * count;
    for (k = 0; k < count; k++) {
        unsigned byte = 0;
        for (i = 0; i < filters; i++)
            byte |= ((unsigned)step->codes[(uint8_t)stored[i * count + k]] & 3) << 2 * i;
        row[k] = (uint8_t)byte;
    }
    return row;
}
"""

TERNARY = Template("""\
static void $name(wage_network *network, const struct step *step, const code8 *in$parameter, $target *out$arguments)
{
    int32_t first, y, x, i, j, f$counters;
    for (first = 0; first < step->out_c; first += 4) {
        const uint8_t *weights = four_filters(network, step, first, step->window_h * step->window_w * step->in_c);
        const int32_t filters = step->out_c - first < 4 ? step->out_c - first : 4;
$images        for (y = 0; y < step->out_h; y++) {
            for (x = 0; x < step->out_w; x++) {
                int32_t best[4] = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}$winners;
                for (i = 0; i < step->pool_h; i++) {
                    for (j = 0; j < step->pool_w; j++) {
                        int32_t sums[4];
                        four_sums(step, weights, $in, y * step->pool_h + i, x * step->pool_w + j, sums);
                        for (f = 0; f < 4; f++) {
                            if (sums[f] > best[f]) {
                                best[f] = sums[f];$keeps
                            }
                        }
                    }
                }
                for (f = 0; f < filters; f++) {
                    const int32_t filter = first + f, place = $origin(y * step->out_w + x) * step->out_c + filter;
                    const int32_t sum = best[f] * step->scale + (step->bias != NULL ? step->bias[filter] : 0)$addition;
                    out[place] = ($target)rounded(sum, step->relu, step->shift, step->limit);$gates
                }
            }
        }
    }
}
""")

POOL = Template("""\
static void $name(const struct step *step, const $source *in, $target *out)
{
    int32_t y, x, c, i, j;
    for (y = 0; y < step->out_h; y++) {
        for (x = 0; x < step->out_w; x++) {
            for (c = 0; c < step->out_c; c++) {
                const int32_t top = y * step->stride_h - step->pad_h, left = x * step->stride_w - step->pad_w;
                int32_t total = $start;
                for (i = top < 0 ? 0 : top; i < top + step->window_h && i < step->in_h; i++) {
                    for (j = left < 0 ? 0 : left; j < left + step->window_w && j < step->in_w; j++) {
                        const int32_t code = in[(i * step->in_w + j) * step->in_c + c];
                        $combine;
                    }
                }
                out[(y * step->out_w + x) * step->out_c + c] =
                    ($target)rounded(total, step->relu, step->shift, step->limit);
            }
        }
    }
}
""")
