/* 64-bit ARM without the dot product extension: Cortex-A53, A57, A72, A73. */
#include "wage_target.h"

#if WAGE_ARM
#include "wage_lanes_neon.h"
#include "wage_tile_neon.h"
#include "wage_passes.h"

const wage_kernels wage_neon = WAGE_TABLE("neon");
#endif
