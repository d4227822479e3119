/* AVX-512 with VNNI: Intel from Cascade Lake and Ice Lake on, AMD from Zen 4 on. */
#include "wage_target.h"

#if WAGE_X86
WAGE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "wage_lanes_avx512.h"
#include "wage_tile_avx512vnni.h"
#include "wage_passes.h"

const wage_kernels wage_avx512vnni = WAGE_TABLE("avx512vnni");
WAGE_TARGET_END
#endif
