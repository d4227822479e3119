/* Which instruction sets this build and this CPU have. */
#include "wage_isa.h"

typedef struct candidate {
    const wage_kernels *kernels;
    int (*runs_here)(void);
} candidate;

static int always(void) {
    return 1;
}

static const candidate CANDIDATES[] = {
    {&wage_portable, always},
};

const wage_kernels *wage_isa(int32_t index) {
    for (size_t i = 0; i < sizeof CANDIDATES / sizeof CANDIDATES[0]; ++i) {
        if (CANDIDATES[i].runs_here() && index-- == 0) return CANDIDATES[i].kernels;
    }
    return NULL;
}
