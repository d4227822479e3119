/* The AVX-VNNI kernels with AVX-512's encoding of the same instruction, for machines that have only that one. */
#include "wage_target.h"

#if WAGE_X86
WAGE_TARGET_BEGIN("avx2,avx512f,avx512bw,avx512vl,avx512vnni")
#define WAGE_DOT _mm256_dpbusd_epi32
#include "wage_lanes_avx2.h"
#include "wage_tile_avx2.h"
#include "wage_passes.h"

const wage_kernels wage_avxvnni_evex = WAGE_TABLE("avxvnni (EVEX)");
WAGE_TARGET_END
#endif
