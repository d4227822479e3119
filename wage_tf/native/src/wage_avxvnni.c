/* AVX2 with AVX-VNNI: Intel from Alder Lake on, AMD from Zen 5 on; where there is AVX-512 VNNI that is the better one. */
#include "wage_target.h"

#if WAGE_X86
WAGE_TARGET_BEGIN("avx2,avxvnni")
#define WAGE_DOT _mm256_dpbusd_avx_epi32
#include "wage_lanes_avx2.h"
#include "wage_tile_avx2.h"
#include "wage_passes.h"

const wage_kernels wage_avxvnni = WAGE_TABLE("avxvnni");
WAGE_TARGET_END
#endif
