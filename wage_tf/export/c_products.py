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
    const uint8_t *bytes;
    const uint32_t mask = (1u << step->width) - 1, sign = 1u << (step->width - 1);
    uint32_t bits;
    unsigned held = 8 - (unsigned)(start & 7);
    int32_t i;
$stored    bytes = step->weights + (start >> 3);
    bits = (uint32_t)*bytes++ >> (start & 7);
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
                largest = largest * step->scale + $bias$addition;
                out[place] = ($target)rounded(largest, step->relu, step->shift, step->limit);$gate
            }
        }
    }
}
""")

TERNARY_SUMS = Template("""\
/* The two codes of four bits as one word: its lower half is one filter's, the upper the next one's. */
static const int32_t pairs[16] = {
$pairs
};

#if defined(__GNUC__)
#define ALONE __attribute__((__noinline__))
#else
#define ALONE
#endif

enum { AT_ONCE = 256 /* products of codes up to 127 whose sums stay within 16 bits */ };

/* Adds the halves of a word of sums to two sums. */
static void spill(int32_t word, int32_t *sums)
{
    const int32_t low = (int32_t)((uint32_t)(word + 32768) & 65535) - 32768;
    sums[0] += low;
    sums[1] += (word - low) / 65536;
}

/* Adds the products of a run of codes with the weights of four filters. It stands alone to have all registers. */
static ALONE void add_run(const code8 *codes, const uint8_t *weights, int32_t count, int32_t *sums)
{
    for (; count > 0; count -= AT_ONCE) {
        const code8 *end = codes + (count < AT_ONCE ? count : AT_ONCE);
        int32_t first = 0, second = 0;
        do {
            const uint32_t byte = *weights++;
            const int32_t code = *codes++;
            first += code * pairs[byte & 15];
            second += code * pairs[byte >> 4];
        } while (codes != end);
        spill(first, sums);
        spill(second, sums + 2);
    }
}

/* The same for two runs, the second `apart` behind the first, which share the weights. */
static ALONE void add_two_runs(const code8 *codes, int32_t apart, const uint8_t *weights, int32_t count, int32_t *sums)
{
    for (; count > 0; count -= AT_ONCE) {
        const code8 *end = codes + (count < AT_ONCE ? count : AT_ONCE);
        int32_t first = 0, second = 0, third = 0, fourth = 0;
        do {
            const uint32_t byte = *weights++;
            const int32_t low = pairs[byte & 15], high = pairs[byte >> 4], other = codes[apart], code = *codes++;
            first += code * low;
            second += code * high;
            third += other * low;
            fourth += other * high;
        } while (codes != end);
        spill(first, sums);
        spill(second, sums + 2);
        spill(third, sums + 4);
        spill(fourth, sums + 6);
    }
}

/* The columns of a window, from *first to before *past, that lie on the image. */
static void clip_window(const struct step *step, int32_t x, int32_t *first, int32_t *past)
{
    const int32_t left = x * step->stride_w - step->pad_w;
    const int32_t room = (step->in_w - left + step->dilation_w - 1) / step->dilation_w;
    *first = left < 0 ? (step->dilation_w - 1 - left) / step->dilation_w : 0;
    *past = room < step->window_w ? room : step->window_w;
}

/* The sums of four filters at a place and, where `count` is 2 and its window is clipped alike, at the next one of the
 * row. Returns for how many places. */
static int32_t four_sums(const struct step *step, const uint8_t *weights, const code8 *in, int32_t y, int32_t x,
                         int32_t count, int32_t *sums)
{
    int32_t first, past, other_first, other_past, taps, i, j;
    clip_window(step, x, &first, &past);
    clip_window(step, x + 1, &other_first, &other_past);
    if (first != other_first || past != other_past)
        count = 1;
    taps = step->dilation_w == 1 ? past - first : 1; /* those that are one run of codes */
    for (i = 0; i < 8; i++)
        sums[i] = 0;
    for (i = 0; i < step->window_h; i++) {
        const int32_t row = y * step->stride_h - step->pad_h + i * step->dilation_h;
        for (j = first; j < past && row >= 0 && row < step->in_h; j += taps) {
            const int32_t column = x * step->stride_w - step->pad_w + j * step->dilation_w;
            const code8 *codes = in + (row * step->in_w + column) * step->in_c;
            const uint8_t *run = weights + (i * step->window_w + j) * step->in_c;
            if (count == 1)
                add_run(codes, run, taps * step->in_c, sums);
            else
                add_two_runs(codes, step->stride_w * step->in_c, run, taps * step->in_c, sums);
        }
    }
    return count;
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
    const int32_t across = step->pool_w == 1 ? 2 : 1; /* outputs that are made together */
    int32_t first, y, x, i, j, k$counters;
    for (first = 0; first < step->out_c; first += 4) {
        const uint8_t *weights = four_filters(network, step, first, step->window_h * step->window_w * step->in_c);
        const int32_t filters = step->out_c - first < 4 ? step->out_c - first : 4;
$images        for (y = 0; y < step->out_h; y++) {
            for (x = 0; x < step->out_w; x += across) {
                const int32_t outputs = step->out_w - x < across ? 1 : across, columns = outputs * step->pool_w;
                int32_t best[8]$winners;
                for (k = 0; k < 8; k++)
                    best[k] = INT32_MIN;
                for (i = 0; i < step->pool_h; i++) {
                    int32_t sums[8], made;
                    for (j = 0; j < columns; j += made) {
                        made = four_sums(step, weights, $in, y * step->pool_h + i, x * step->pool_w + j,
                                         columns - j < 2 ? 1 : 2, sums);
                        for (k = 0; k < 4 * made; k++) {
                            const int32_t at = across == 2 ? 4 * j + k : k & 3;
                            if (sums[k] > best[at]) {
                                best[at] = sums[k];$keeps
                            }
                        }
                    }
                }
                for (k = 0; k < 4 * outputs; k++) {
                    const int32_t filter = first + (k & 3), pixel = y * step->out_w + x + (k >> 2);
                    const int32_t place = ${origin}pixel * step->out_c + filter;
                    int32_t sum;
                    if ((k & 3) >= filters)
                        continue;
                    sum = best[k] * step->scale + $bias$addition;
                    out[place] = ($target)rounded(sum, step->relu, step->shift, step->limit);$gates
                }
            }
        }
    }
}
""")

POOL = Template("""\
static void $name(const struct step *step, const $source *in, $target *out$arguments)
{
    int32_t y, x, c, i, j$counters;
$images    for (y = 0; y < step->out_h; y++) {
        for (x = 0; x < step->out_w; x++) {
            for (c = 0; c < step->out_c; c++) {
                const int32_t top = y * step->stride_h - step->pad_h, left = x * step->stride_w - step->pad_w;
                const int32_t place = $origin(y * step->out_w + x) * step->out_c + c;
                const $source *codes = $in;
                int32_t total = $start;
                for (i = top < 0 ? 0 : top; i < top + step->window_h && i < step->in_h; i++) {
                    for (j = left < 0 ? 0 : left; j < left + step->window_w && j < step->in_w; j++) {
                        const int32_t code = codes[(i * step->in_w + j) * step->in_c + c];
                        $combine;
                    }
                }
                out[place] = ($target)rounded(total, step->relu, step->shift, step->limit);$keep
            }
        }
    }
}
""")
