/* A device that is told what to do through standard input and answers on standard output; network 2 is the static one.
 *
 * T network count images labels -> status    R network log2 -> status    S network -> block
 * L network size block -> status             I network image -> scores   numbers are int32 of this machine
 */
#include "wage_net.h"

#include <stdio.h>
#include <stdlib.h>

static wage_network networks[2];
static uint8_t images[WAGE_BATCH * WAGE_PIXELS], labels[WAGE_BATCH], block[WAGE_BLOCK_BYTES];

static void take(void *bytes, size_t count)
{
    if (fread(bytes, 1, count, stdin) != count)
        exit(2);
}

static int32_t number(void)
{
    int32_t found;
    take(&found, sizeof found);
    return found;
}

static void give(const void *bytes, size_t count)
{
    fwrite(bytes, 1, count, stdout);
}

static int32_t train(int32_t place)
{
    const int32_t count = number();
    if (count > 0 && count <= WAGE_BATCH) {
        take(images, (size_t)count * WAGE_PIXELS);
        take(labels, (size_t)count);
    }
    return place == 2 ? wage_train_step(images, labels, count)
                      : wage_network_train_step(&networks[place], images, labels, count);
}

static int32_t load(int32_t place)
{
    const int32_t size = number();
    uint8_t *bytes = malloc((size_t)size + 1); /* of that size: what is read beyond it is found */
    int32_t status;
    take(bytes, (size_t)size);
    status = place == 2 ? wage_load(bytes, size) : wage_network_load(&networks[place], bytes, size);
    free(bytes);
    return status;
}

int main(void)
{
    int command;
    wage_network_init(&networks[0]);
    wage_network_init(&networks[1]);
    while ((command = getchar()) != EOF) {
        const int32_t place = number();
        int32_t status = 0, scores[WAGE_OUTPUTS];
        if (command == 'T')
            status = train(place);
        if (command == 'L')
            status = load(place);
        if (command == 'R') {
            const int log2 = number();
            status = place == 2 ? wage_set_learning_rate(log2) : wage_network_set_learning_rate(&networks[place], log2);
        }
        if (command == 'S') {
            if (place == 2)
                wage_save(block);
            else
                wage_network_save(&networks[place], block);
            give(block, sizeof block);
        } else if (command == 'I') {
            take(images, WAGE_PIXELS);
            if (place == 2)
                wage_infer(images, scores);
            else
                wage_network_infer(&networks[place], images, scores);
            give(scores, sizeof scores);
        } else {
            give(&status, sizeof status);
        }
    }
    return 0;
}
