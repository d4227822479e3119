/* AVX2 without a dot product: Intel from Haswell to before Ice Lake and Alder Lake, AMD Zen to Zen 3. */
#include "wage_target.h"

#if WAGE_X86
WAGE_TARGET_BEGIN("avx2")
#include "wage_lanes_avx2.h"
#include "wage_tile_avx2.h"
#include "wage_passes.h"

const wage_kernels wage_avx2 = WAGE_TABLE("avx2");
WAGE_TARGET_END
#endif
