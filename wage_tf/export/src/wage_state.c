/* What a network starts with, and all that it has learned as one checked block. */
#include "wage_train.h"

#include <stddef.h>

enum { LOWEST_RATE = -62, HIGHEST_RATE = 30 };

void wage_network_init(wage_network *network)
{
    int32_t i;
    for (i = 0; i < WAGE_STORED; i++)
        network->stored[i] = wage_initial[i];
#if WAGE_BIASES > 0
    for (i = 0; i < WAGE_BIASES; i++)
        network->biases[i] = wage_initial_biases[i];
#endif
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

/* The block: "WAGB", version, length, model, step, log2 of the rate, the weights and biases, CRC-32; numbers little endian. */
enum { VERSION = 1, HEADER = 24, CHECKED = WAGE_BLOCK_BYTES - 4 };

static const uint32_t MAGIC = UINT32_C(0x42474157);

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

static int32_t get_signed(const uint8_t *bytes, int32_t size)
{
    if (size == 1)
        return bytes[0] < 128 ? bytes[0] : bytes[0] - 256;
    return bytes[3] < 128 ? (int32_t)get(bytes) : -(int32_t)~get(bytes) - 1;
}

/* Bytes of one of a parameter's numbers in a block. */
static int32_t bytes_of(const wage_parameter *parameter)
{
    return parameter->is_bias ? 4 : 1;
}

static int32_t number_of(const wage_network *network, const wage_parameter *parameter, int32_t i)
{
#if WAGE_BIASES > 0
    if (parameter->is_bias)
        return network->biases[parameter->first + i];
#endif
    return network->stored[parameter->first + i];
}

static void set_number(wage_network *network, const wage_parameter *parameter, int32_t i, int32_t number)
{
#if WAGE_BIASES > 0
    if (parameter->is_bias) {
        network->biases[parameter->first + i] = number;
        return;
    }
#endif
    network->stored[parameter->first + i] = (int8_t)number;
}

void wage_network_save(const wage_network *network, uint8_t *block)
{
    uint8_t *bytes = block + HEADER;
    int32_t place, i;
    put(block, MAGIC);
    put(block + 4, VERSION);
    put(block + 8, WAGE_BLOCK_BYTES);
    put(block + 12, WAGE_MODEL);
    put(block + 16, network->step);
    put(block + 20, (uint32_t)network->log2_rate);
    for (place = 0; place < WAGE_PARAMETERS; place++) {
        const wage_parameter *parameter = &wage_parameters[place];
        for (i = 0; i < parameter->count; i++, bytes += bytes_of(parameter)) {
            const int32_t number = number_of(network, parameter, i);
            if (parameter->is_bias)
                put(bytes, (uint32_t)number);
            else
                bytes[0] = (uint8_t)number;
        }
    }
    put(bytes, crc_of(block, CHECKED));
}

/* Whether all numbers of a block are within their limits; where a network is given, it takes them. */
static int take_numbers(const uint8_t *bytes, wage_network *network)
{
    int32_t place, i;
    for (place = 0; place < WAGE_PARAMETERS; place++) {
        const wage_parameter *parameter = &wage_parameters[place];
        for (i = 0; i < parameter->count; i++, bytes += bytes_of(parameter)) {
            const int32_t number = get_signed(bytes, bytes_of(parameter));
            if (number > parameter->limit || number < -parameter->limit)
                return 0;
            if (network != NULL)
                set_number(network, parameter, i, number);
        }
    }
    return 1;
}

int wage_network_load(wage_network *network, const uint8_t *block, int32_t size)
{
    int32_t log2_rate;
    if (size != WAGE_BLOCK_BYTES || get(block) != MAGIC || get(block + 4) != VERSION || get(block + 8) != WAGE_BLOCK_BYTES)
        return WAGE_BLOCK;
    if (get(block + CHECKED) != crc_of(block, CHECKED))
        return WAGE_BLOCK;
    if (get(block + 12) != WAGE_MODEL)
        return WAGE_FOREIGN;
    log2_rate = get_signed(block + 20, 4);
    if (log2_rate < LOWEST_RATE || log2_rate > HIGHEST_RATE || !take_numbers(block + HEADER, NULL))
        return WAGE_BLOCK;
    take_numbers(block + HEADER, network);
    network->step = get(block + 16);
    network->log2_rate = log2_rate;
    return WAGE_OK;
}
