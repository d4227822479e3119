/* Sixteen int32 lanes on NEON (see wage_tile.h). */
#include <arm_neon.h>

#include "wage_tile.h"

typedef int32x4x4_t wage_lanes;

#define WAGE_LANEWISE(NAME, OPERATION)                                                                     \
    WAGE_INLINE wage_lanes NAME(wage_lanes a, wage_lanes b) {                                              \
        return (wage_lanes){{OPERATION(a.val[0], b.val[0]), OPERATION(a.val[1], b.val[1]),                 \
                             OPERATION(a.val[2], b.val[2]), OPERATION(a.val[3], b.val[3])}};               \
    }
WAGE_LANEWISE(wage_plus, vaddq_s32)
WAGE_LANEWISE(wage_and, vandq_s32)
WAGE_LANEWISE(wage_max, vmaxq_s32)
WAGE_LANEWISE(wage_min, vminq_s32)
WAGE_LANEWISE(wage_shifted, vshlq_s32)

WAGE_INLINE wage_lanes wage_get(const int32_t *at) {
    return (wage_lanes){{vld1q_s32(at), vld1q_s32(at + 4), vld1q_s32(at + 8), vld1q_s32(at + 12)}};
}
WAGE_INLINE void wage_put(int32_t *at, wage_lanes x) {
    for (int i = 0; i < 4; i++) vst1q_s32(at + 4 * i, x.val[i]);
}
WAGE_INLINE wage_lanes wage_all(int32_t x) {
    return (wage_lanes){{vdupq_n_s32(x), vdupq_n_s32(x), vdupq_n_s32(x), vdupq_n_s32(x)}};
}
WAGE_INLINE wage_lanes wage_size(wage_lanes x) {
    return (wage_lanes){{vabsq_s32(x.val[0]), vabsq_s32(x.val[1]), vabsq_s32(x.val[2]), vabsq_s32(x.val[3])}};
}
WAGE_INLINE wage_lanes wage_right(wage_lanes x, int32_t shift) { return wage_shifted(x, wage_all(-shift)); }
WAGE_INLINE wage_lanes wage_where_greater(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    wage_lanes x;
    for (int i = 0; i < 4; i++) x.val[i] = vbslq_s32(vcgtq_s32(a.val[i], b.val[i]), yes.val[i], no.val[i]);
    return x;
}
WAGE_INLINE wage_lanes wage_where_equal(wage_lanes a, wage_lanes b, wage_lanes yes, wage_lanes no) {
    wage_lanes x;
    for (int i = 0; i < 4; i++) x.val[i] = vbslq_s32(vceqq_s32(a.val[i], b.val[i]), yes.val[i], no.val[i]);
    return x;
}
WAGE_INLINE wage_lanes wage_get_bytes(const uint8_t *at) {
    const uint8x16_t bytes = vld1q_u8(at);
    const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
    return (wage_lanes){{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
                         vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
                         vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
                         vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}
WAGE_INLINE void wage_put_bytes(uint8_t *at, wage_lanes x) {
    const int16x8_t low = vcombine_s16(vmovn_s32(x.val[0]), vmovn_s32(x.val[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(x.val[2]), vmovn_s32(x.val[3]));
    vst1q_s8((int8_t *)at, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
WAGE_INLINE int32_t wage_most(wage_lanes x) {
    return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.val[0], x.val[1]), vmaxq_s32(x.val[2], x.val[3])));
}
