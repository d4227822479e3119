/* Which instruction sets this build and this CPU have; a new table is a line in CANDIDATES. */
#include "wage_isa.h"

#include "wage_target.h"

#if WAGE_X86
#include <cpuid.h>
#elif WAGE_ARM && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

typedef struct candidate {
    const wage_kernels *kernels;
    int (*runs_here)(void);
} candidate;

static int always(void) {
    return 1;
}

#if WAGE_X86
extern const wage_kernels wage_avx512vnni, wage_avxvnni, wage_avx2;

static int has_avx512vnni(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

/* CPUID leaf 7.1, EAX bit 4; compilers' own names for it are younger than the instructions. */
static int has_avxvnni(void) {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}
#endif

#if WAGE_ARM
extern const wage_kernels wage_neon;
#ifdef WAGE_ARM_DOT
extern const wage_kernels wage_neondot;

static int has_neondot(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 1; /* 64-bit Apple machines all have it */
#endif
}
#endif
#endif

static const candidate CANDIDATES[] = {
#if WAGE_X86
    {&wage_avx512vnni, has_avx512vnni},
    {&wage_avxvnni, has_avxvnni},
    {&wage_avx2, has_avx2},
#endif
#if WAGE_ARM
#ifdef WAGE_ARM_DOT
    {&wage_neondot, has_neondot},
#endif
    {&wage_neon, always},
#endif
    {&wage_portable, always},
};

const wage_kernels *wage_isa(int32_t index) {
    for (size_t i = 0; i < sizeof CANDIDATES / sizeof CANDIDATES[0]; ++i) {
        if (CANDIDATES[i].runs_here() && index-- == 0) return CANDIDATES[i].kernels;
    }
    return NULL;
}
