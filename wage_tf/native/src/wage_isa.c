/* Which instruction sets this build and this CPU have; a new table is a line in CANDIDATES. */
#include "wage_isa.h"

typedef struct candidate {
    const wage_kernels *kernels;
    int (*runs_here)(void);
} candidate;

static int always(void) {
    return 1;
}

#if defined(__x86_64__) && defined(__GNUC__)
extern const wage_kernels wage_avx512vnni;

static int has_avx512vnni(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

static const candidate CANDIDATES[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    {&wage_avx512vnni, has_avx512vnni},
#endif
    {&wage_portable, always},
};

const wage_kernels *wage_isa(int32_t index) {
    for (size_t i = 0; i < sizeof CANDIDATES / sizeof CANDIDATES[0]; ++i) {
        if (CANDIDATES[i].runs_here() && index-- == 0) return CANDIDATES[i].kernels;
    }
    return NULL;
}
