/* What a network starts with, and all that it has learned as one checked block. */
#include "wage_train.h"

enum { LOWEST_RATE = -62, HIGHEST_RATE = 30 };

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

/* The block: "WAGB", version, length, model, step, log2 of the rate, the weights, CRC-32; numbers little endian. */
enum { VERSION = 1, HEADER = 24 };

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
    int32_t place, i;
    for (place = 0; place < WAGE_PARAMETERS; place++) {
        const wage_parameter *parameter = &wage_parameters[place];
        for (i = parameter->first; i < parameter->first + parameter->count; i++)
            if (signed_of(weights[i]) > parameter->limit || signed_of(weights[i]) < -parameter->limit)
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
