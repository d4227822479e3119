/* The tables of kernels that this build has and this CPU can run. */
#ifndef WAGE_ISA_H
#define WAGE_ISA_H

#include "wage_kernels.h"

/* Table `index`, the fastest first and wage_portable last; NULL past the end. */
const wage_kernels *wage_isa(int32_t index);

#endif
