/*
 * The kernels of this machine's instruction sets against the portable ones, over random layers, teams and operands, some of
 * them extreme: check_kernels [cases [seed [table]]]. Exits with 1 and names the layer and pass at the first difference.
 *
 *   cc -O2 -I src check_kernels.c avxvnni_evex.c src/wage_isa.c src/wage_portable.c src/wage_avx*.c src/wage_neon*.c -lpthread
 *
 * A program of its own so that it runs under an emulator and under sanitizers. The portable kernels are tested against NumPy.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wage_inline.h"
#include "wage_isa.h"
#include "wage_target.h"

enum { BEYOND = 64, MOST_THREADS = 4 };

static uint64_t state = 1;

static uint32_t draw(uint32_t below) { /* splitmix64 */
    uint64_t x = state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((x ^ x >> 31) % below);
}

static int32_t between(int32_t low, int32_t high) {
    return (int32_t)(low + (int64_t)draw((uint32_t)high - (uint32_t)low + 1));
}

/* Aligned memory with readable bytes before and after, filled with noise. */
typedef struct block {
    uint8_t *base;
    void *at;
    size_t size;
} block;

static block take(size_t size) {
    block b;
    if (size > PTRDIFF_MAX / 2) abort();
    b.size = size + 2 * BEYOND;
    b.base = aligned_alloc(64, (b.size + 63) / 64 * 64);
    if (!b.base) abort();
    for (size_t i = 0; i < b.size; i++) b.base[i] = (uint8_t)(i * 37 + 11);
    b.at = b.base + BEYOND;
    return b;
}

/* Images of bytes with a border. */
typedef struct bordered {
    block memory;
    wage_image image;
    int32_t height, width, channels;
} bordered;

static bordered border(int32_t count, int32_t height, int32_t width, int32_t channels, int32_t top, int32_t bottom,
                       int32_t left, int32_t right, int32_t fill) {
    bordered b = {.height = height, .width = width, .channels = channels};
    b.image.row = (ptrdiff_t)(left + width + right) * channels;
    b.image.image = b.image.row * (top + height + bottom);
    b.memory = take((size_t)(count * b.image.image));
    memset(b.memory.at, fill, (size_t)(count * b.image.image));
    b.image.data = (uint8_t *)b.memory.at + top * b.image.row + (ptrdiff_t)left * channels;
    return b;
}

static uint8_t *pixel(const bordered *b, int32_t n, int32_t y) {
    return (uint8_t *)b->image.data + n * b->image.image + y * b->image.row;
}

/* Codes from -limit (or 0) to limit; `extreme` takes only the ends. */
static int8_t code(int32_t limit, int32_t is_signed, int32_t extreme) {
    if (extreme) return (int8_t)(is_signed && draw(2) ? -limit : limit);
    return (int8_t)between(is_signed ? -limit : 0, limit);
}

static int32_t largest_of(int32_t a, int32_t b) { return a > b ? a : b; }

static wage_layer random_layer(void) {
    wage_layer l = {.batch = between(1, 6), .dilation_h = 1, .dilation_w = 1, .groups = 1, .pool_h = 1, .pool_w = 1};
    static const int32_t channels[] = {1, 2, 3, 4, 5, 8, 16, 17, 32, 40}, filters[] = {1, 3, 4, 10, 16, 31, 32, 33, 64, 70};
    static const int32_t w_limits[] = {1, 3, 7, 64, 127};
    l.channels = channels[draw(10)];
    l.filters = filters[draw(10)];
    l.window_h = l.window_w = l.stride_h = l.stride_w = l.in_h = l.in_w = 1;
    if (draw(4)) {
        l.window_h = between(1, 5);
        l.window_w = between(1, 5);
        if (draw(3) == 0) {
            l.stride_h = between(1, 3);
            l.stride_w = between(1, 3);
        }
        l.in_h = between(l.window_h, 14);
        l.in_w = between(l.window_w, 14);
    } else {
        l.channels = between(1, 200);
    }
    if (draw(2)) {
        l.out_h = (l.in_h + l.stride_h - 1) / l.stride_h;
        l.out_w = (l.in_w + l.stride_w - 1) / l.stride_w;
        l.pad_top = largest_of((l.out_h - 1) * l.stride_h + l.window_h - l.in_h, 0) / 2;
        l.pad_left = largest_of((l.out_w - 1) * l.stride_w + l.window_w - l.in_w, 0) / 2;
    } else {
        l.out_h = (l.in_h - l.window_h) / l.stride_h + 1;
        l.out_w = (l.in_w - l.window_w) / l.stride_w + 1;
    }
    if (draw(4) == 0) l.groups = l.filters = l.channels;
    l.output = draw(4) ? WAGE_CODES : WAGE_SUMS;
    if (l.output == WAGE_CODES && l.groups == 1 && l.out_h > 1 && l.out_w > 1 && draw(2)) l.pool_h = l.pool_w = 2;
    l.relu = l.output == WAGE_CODES && draw(2);
    l.x_signed = between(0, 1);
    l.w_limit = w_limits[draw(5)];
    l.wide_gradient = between(0, 1);
    l.shift = between(0, 11);
    l.limit = (1 << between(1, 7)) - 1;
    return l;
}

static bordered input_of(const wage_layer *l, int32_t count) {
    const int32_t height = largest_of((l->out_h - 1) * l->stride_h + l->window_h, l->pad_top + l->in_h);
    const int32_t width = largest_of((l->out_w - 1) * l->stride_w + l->window_w, l->pad_left + l->in_w);
    return border(count, l->in_h, l->in_w, l->channels, l->pad_top, height - l->pad_top - l->in_h, l->pad_left,
                  width - l->pad_left - l->in_w, 0);
}

static bordered errors_of(const wage_layer *l, int32_t count) {
    if (l->stride_h > 1 || l->stride_w > 1) return border(count, l->out_h, l->out_w, l->filters, 0, 0, 0, 0, l->e_zero);
    return border(count, l->out_h, l->out_w, l->filters, l->window_h - 1 - l->pad_top, l->in_h + l->pad_top - l->out_h,
                  l->window_w - 1 - l->pad_left, l->in_w + l->pad_left - l->out_w, l->e_zero);
}

/* Everything that the passes of one table give. */
typedef struct results {
    block y, gate, sums, gradient, stored, codes;
    bordered spread;
    int64_t largest_error, largest_gradient;
} results;

/* What all tables are given. */
typedef struct operands {
    int32_t count;
    const int8_t *codes, *x, *e;
    const uint8_t *gate_in, *gate_out;
    const int32_t *sums;
    wage_rounding rounding;
    wage_rate rate;
} operands;

typedef struct member {
    const wage_kernels *kernels;
    const wage_layer *layer;
    const operands *given;
    void *packed, *workspace;
    bordered *x, *e;
    results *to;
    wage_team team;
    int64_t largest_error, largest_gradient;
} member;

static void wait_all(void *barrier) { pthread_barrier_wait(barrier); }

static int64_t weights_of(const wage_layer *l) {
    return (int64_t)l->window_h * l->window_w * (l->channels / l->groups) * l->filters;
}

static void *run_member(void *argument) {
    member *m = argument;
    const wage_kernels *k = m->kernels;
    const wage_layer *l = m->layer;
    const operands *given = m->given;
    const void *packed = m->packed ? m->packed : given->codes;
    const ptrdiff_t row = (ptrdiff_t)l->out_w / l->pool_w * l->filters;
    const wage_image y = {m->to->y.at, row, row * (l->out_h / l->pool_h)};
    if (m->packed) k->pack(l, given->codes, m->packed, 1, &m->team);
    wage_wait(&m->team);
    k->forward(l, packed, &m->x->image, &y, m->to->gate.at, given->count, m->workspace, &m->team);
    wage_wait(&m->team);
    m->largest_error = k->error(l, packed, &m->e->image, m->to->sums.at, given->gate_in, given->count, m->workspace,
                                &m->team);
    wage_wait(&m->team);
    m->largest_gradient = k->gradient(l, &m->x->image, &m->e->image, m->to->gradient.at, given->count, m->workspace,
                                      &m->team);
    wage_wait(&m->team);
    k->round_errors(l, &given->rounding, given->sums, given->gate_out, &m->to->spread.image, given->count, &m->team);
    k->update(&given->rate, m->to->gradient.at, l->wide_gradient, m->to->stored.at, 1, m->to->codes.at, weights_of(l),
              &m->team);
    return NULL;
}

static results run_table(const wage_kernels *kernels, wage_layer layer, const operands *given, int32_t threads) {
    results to;
    const size_t weights = (size_t)weights_of(&layer), count = (size_t)given->count;
    const size_t in = count * layer.in_h * layer.in_w * layer.channels;
    const size_t out = count * (layer.out_h / layer.pool_h) * (layer.out_w / layer.pool_w) * layer.filters;
    layer.e_zero = kernels->e_zero;
    const size_t packed_size = kernels->packed_size(&layer);
    block packed = take(packed_size), workspace = take(kernels->workspace_size(&layer, threads));
    bordered x = input_of(&layer, given->count), e = errors_of(&layer, given->count);
    to.y = take(out * 4);
    to.gate = take(out);
    to.sums = take(in * 4);
    to.gradient = take(weights * 8);
    to.stored = take(weights);
    to.codes = take(weights);
    to.spread = errors_of(&layer, given->count);
    to.largest_error = to.largest_gradient = 0;
    for (size_t i = 0; i < weights; i++)
        ((int8_t *)to.stored.at)[i] = (int8_t)((int32_t)(i % (size_t)(2 * given->rate.limit + 1)) - given->rate.limit);
    for (int32_t n = 0, i = 0, j = 0; n < given->count; n++) {
        for (int32_t v = 0; v < layer.in_h; v++, i += layer.in_w * layer.channels)
            memcpy(pixel(&x, n, v), given->x + i, (size_t)layer.in_w * layer.channels);
        for (int32_t v = 0; v < layer.out_h; v++)
            for (int32_t c = 0; c < layer.out_w * layer.filters; c++, j++)
                pixel(&e, n, v)[c] = (uint8_t)(given->e[j] + layer.e_zero);
    }
    pthread_barrier_t barrier;
    pthread_t handles[MOST_THREADS];
    member members[MOST_THREADS];
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int32_t t = threads - 1; t >= 0; t--) {
        members[t] = (member){kernels, &layer, given, packed_size ? packed.at : NULL, workspace.at, &x, &e, &to,
                              {t, threads, wait_all, &barrier}, 0, 0};
        if (t > 0 && pthread_create(&handles[t], NULL, run_member, &members[t])) abort();
    }
    run_member(&members[0]);
    for (int32_t t = 0; t < threads; t++) {
        if (t > 0) pthread_join(handles[t], NULL);
        if (members[t].largest_error > to.largest_error) to.largest_error = members[t].largest_error;
        if (members[t].largest_gradient > to.largest_gradient) to.largest_gradient = members[t].largest_gradient;
    }
    pthread_barrier_destroy(&barrier);
    free(packed.base);
    free(workspace.base);
    free(x.memory.base);
    free(e.memory.base);
    return to;
}

static void drop(results *r) {
    const block all[] = {r->y, r->gate, r->sums, r->gradient, r->stored, r->codes, r->spread.memory};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].base);
}

/* The same errors, each with the zero of its table. */
static int same_errors(const results *a, int32_t zero_a, const results *b, int32_t zero_b, int32_t count) {
    const bordered *s = &a->spread;
    for (int32_t n = 0; n < count; n++)
        for (int32_t y = 0; y < s->height; y++)
            for (int32_t i = 0; i < s->width * s->channels; i++)
                if ((int8_t)(pixel(s, n, y)[i] - zero_a) != (int8_t)(pixel(&b->spread, n, y)[i] - zero_b)) return 0;
    return 1;
}

static const char *difference(const results *a, int32_t zero_a, const results *b, int32_t zero_b, const wage_layer *l,
                              int32_t count) {
    const size_t in = (size_t)count * l->in_h * l->in_w * l->channels, weights = (size_t)weights_of(l);
    const size_t out = (size_t)count * (l->out_h / l->pool_h) * (l->out_w / l->pool_w) * l->filters;
    if (memcmp(a->y.at, b->y.at, l->output == WAGE_SUMS ? 4 * out : out)) return "forward";
    if (l->output == WAGE_CODES && memcmp(a->gate.at, b->gate.at, out)) return "gate";
    if (memcmp(a->sums.at, b->sums.at, 4 * in)) return "error";
    if (a->largest_error != b->largest_error) return "largest error";
    if (memcmp(a->gradient.at, b->gradient.at, (l->wide_gradient ? 8 : 4) * weights)) return "gradient";
    if (a->largest_gradient != b->largest_gradient) return "largest gradient";
    if (!same_errors(a, zero_a, b, zero_b, count)) return "round_errors";
    if (memcmp(a->stored.at, b->stored.at, weights)) return "update";
    if (memcmp(a->codes.at, b->codes.at, weights)) return "codes";
    return NULL;
}

static void check_layer(const wage_kernels *const *tables, int32_t count) {
    const wage_layer l = random_layer();
    const int32_t images = between(1, l.batch), extreme = draw(3) == 0;
    const size_t in = (size_t)images * l.in_h * l.in_w * l.channels, weights = (size_t)weights_of(&l);
    const size_t out = (size_t)images * l.out_h * l.out_w * l.filters;
    block codes = take(weights), x = take(in), e = take(out), gate_in = take(in), gate_out = take(out), sums = take(4 * out);
    const int32_t bits = between(1, 30), places = l.pool_h * l.pool_w;
    for (size_t i = 0; i < weights; i++) ((int8_t *)codes.at)[i] = code(l.w_limit, 1, extreme);
    for (size_t i = 0; i < in; i++) ((int8_t *)x.at)[i] = code(127, l.x_signed, extreme);
    for (size_t i = 0; i < in; i++) ((uint8_t *)gate_in.at)[i] = (uint8_t)draw(16);
    for (size_t i = 0; i < out; i++) {
        ((int8_t *)e.at)[i] = code(127, 1, extreme);
        ((uint8_t *)gate_out.at)[i] = (uint8_t)(draw(4) | draw((uint32_t)places) << WAGE_GATE_PLACE);
        ((int32_t *)sums.at)[i] = between(-(1 << bits), 1 << bits);
    }
    const operands given = {
        images, codes.at, x.at, e.at, draw(4) ? gate_in.at : NULL, places > 1 || draw(4) ? gate_out.at : NULL, sums.at,
        {bits - between(1, 7), (1 << between(1, 7)) - 1},
        {between(1, 20), {draw(UINT32_MAX), draw(UINT32_MAX)}, between(1, 24), between(0, 2), between(1, 127), between(0, 6),
         between(0, 7)}};
    results expected = run_table(&wage_portable, l, &given, 1);
    for (int32_t i = 0; i < count; i++) {
        const int32_t threads = between(1, MOST_THREADS);
        wage_layer asked = l;
        asked.e_zero = tables[i]->e_zero;
        if (!tables[i]->takes(&asked)) continue;
        results found = run_table(tables[i], l, &given, threads);
        const char *what = difference(&expected, wage_portable.e_zero, &found, tables[i]->e_zero, &l, images);
        if (what) {
            printf("%s: %s differs: batch %d, %d threads, input %dx%dx%d, window %dx%d, strides %dx%d, pads %d %d, output "
                   "%dx%dx%d, signed %d, weights +-%d, kind %d, pool %d, relu %d, shift %d, limit %d, wide %d\n",
                   tables[i]->name, what, images, threads, l.in_h, l.in_w, l.channels, l.window_h, l.window_w, l.stride_h,
                   l.stride_w, l.pad_top, l.pad_left, l.out_h, l.out_w, l.filters, l.x_signed, l.w_limit, l.output,
                   l.pool_h, l.relu, l.shift, l.limit, l.wide_gradient);
            exit(1);
        }
        drop(&found);
    }
    drop(&expected);
    const block all[] = {codes, x, e, gate_in, gate_out, sums};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].base);
}

/* The tables of this machine by index, NULL behind the last. */
static const wage_kernels *table(int32_t index) {
    int32_t known = 0;
    while (wage_isa(known)) known++;
    if (index < known) return wage_isa(index);
#if WAGE_X86
    extern const wage_kernels wage_avxvnni_evex;
    if (index == known && !strcmp(wage_isa(0)->name, "avx512vnni")) return &wage_avxvnni_evex;
#endif
    return NULL;
}

int main(int argc, char **argv) {
    const int32_t cases = argc > 1 ? atoi(argv[1]) : 200;
    const wage_kernels *tables[16];
    int32_t count = 0;
    state = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
    for (int32_t i = 0; table(i); i++) {
        if (argc > 3 && strcmp(argv[3], table(i)->name)) continue;
        tables[count++] = table(i);
        printf("%s, ", table(i)->name);
    }
    for (int32_t i = 0; i < cases; i++) check_layer(tables, count);
    printf("agree with the portable kernels on %d layers\n", cases);
    return count == 0;
}
