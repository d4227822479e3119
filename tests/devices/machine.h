/* What a machine gives a test program. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

void print(const char *text);
uint32_t instructions_now(void); /* a clock */
uint32_t instructions_since(uint32_t before);

#endif
