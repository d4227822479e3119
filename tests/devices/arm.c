/* QEMU's mps2-an386, a Cortex-M4: the vector table, the console and the clock. With `-icount shift=0` an instruction
 * takes a nanosecond, a tick of SysTick (25 MHz) is 40 of them. */
#include "machine.h"

extern uint32_t stack_end[], data_begin[], data_end[], data_source[], bss_begin[], bss_end[];
int main(void);

static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;

static void call_host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void print(const char *text)
{
    call_host(4, text);
}

uint32_t instructions_since(uint32_t before)
{
    const uint32_t now = systick[2];
    return ((before - now) & 0xFFFFFF) * 40;
}

uint32_t instructions_now(void)
{
    return systick[2];
}

static void reset(void)
{
    uint32_t *to, *from = data_source;
    for (to = data_begin; to != data_end; to++, from++)
        *to = *from;
    for (to = bss_begin; to != bss_end; to++)
        *to = 0;
    systick[1] = 0xFFFFFF;
    systick[2] = 0;
    systick[0] = 5;
    main();
    call_host(0x18, (void *)0x20026);
    for (;;)
        ;
}

static void fault(void)
{
    print("fault\n");
    call_host(0x18, (void *)0x20023);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_end, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
