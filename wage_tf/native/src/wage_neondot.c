/* 64-bit ARM with the dot product extension: Cortex-A55, A75, Neoverse and Apple's from A11 on. */
#include "wage_target.h"

#if WAGE_ARM && defined(WAGE_ARM_DOT)
WAGE_TARGET_BEGIN(WAGE_ARM_DOT)
#define WAGE_DOT vdotq_s32
#include "wage_lanes_neon.h"
#include "wage_tile_neon.h"
#include "wage_passes.h"

const wage_kernels wage_neondot = WAGE_TABLE("neondot");
WAGE_TARGET_END
#endif
