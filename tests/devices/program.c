/* Runs the case of case.h on a device: images through the network, training steps where it is trained, images again.
 * Prints scores, the block of stored weights in hexadecimal, and instructions. */
#include "machine.h"
#include "wage_net.h"

#include <stddef.h>

#include "case.h"

/* What a compiler may call on its own. */
void *memcpy(void *to, const void *from, size_t count)
{
    uint8_t *bytes = to;
    const uint8_t *source = from;
    while (count-- > 0)
        *bytes++ = *source++;
    return to;
}

void *memset(void *to, int byte, size_t count)
{
    uint8_t *bytes = to;
    while (count-- > 0)
        *bytes++ = (uint8_t)byte;
    return to;
}

static wage_network network;

static void print_number(int32_t number)
{
    char text[13];
    int place = 12;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    text[place] = 0;
    do {
        text[--place] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        text[--place] = '-';
    print(text + place);
}

static void print_count(const char *word, uint32_t count)
{
    print(word);
    print(" ");
    print_number((int32_t)count);
    print("\n");
}

static void classify(void)
{
    int32_t scores[WAGE_OUTPUTS], image, i;
    uint32_t before, count = 0;
    for (image = 0; image < CASE_CLASSIFIED; image++) {
        before = instructions_now();
        wage_network_infer(&network, case_images + image * WAGE_PIXELS, scores);
        count = instructions_since(before);
        print("scores");
        for (i = 0; i < WAGE_OUTPUTS; i++) {
            print(" ");
            print_number(scores[i]);
        }
        print("\n");
    }
    print_count("infer", count);
}

#ifdef WAGE_BATCH
static uint8_t block[WAGE_BLOCK_BYTES];

static void train(void)
{
    const uint8_t *images = case_images;
    int32_t step, first = 0;
    uint32_t before = 0;
    for (step = 0; step < CASE_STEPS; step++) {
        before = instructions_now();
        if (wage_network_train_step(&network, images + first * WAGE_PIXELS, case_labels + first, case_counts[step]) != 0)
            print("error\n");
        print_count("step", instructions_since(before));
        first = (first + case_counts[step]) % (CASE_IMAGES - WAGE_BATCH + 1);
    }
}

static void print_block(void)
{
    int32_t i;
    wage_network_save(&network, block);
    print("block ");
    for (i = 0; i < WAGE_BLOCK_BYTES; i++) {
        char text[3] = {"0123456789abcdef"[block[i] >> 4], "0123456789abcdef"[block[i] & 15], 0};
        print(text);
    }
    print("\n");
}
#endif

int main(void)
{
#ifdef WAGE_BATCH
    wage_network_init(&network);
    train();
    print_block();
#endif
    classify();
    return 0;
}
