/*
 * Instruction sets file by file within one library: what stands between WAGE_TARGET_BEGIN and WAGE_TARGET_END is compiled for
 * the named features, whatever the compiler's flags. System headers come before.
 */
#ifndef WAGE_TARGET_H
#define WAGE_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define WAGE_X86 1
#include <immintrin.h>
#else
#define WAGE_X86 0
#endif

#if defined(__aarch64__)
#define WAGE_ARM 1
#include <arm_neon.h>
#else
#define WAGE_ARM 0
#endif

/* The feature's name, where the compiler offers it within a function (clang from 16 on) or everywhere. */
#if defined(__clang__) && (__clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define WAGE_ARM_DOT "dotprod"
#elif !defined(__clang__)
#define WAGE_ARM_DOT "arch=armv8.2-a+dotprod"
#endif

#define WAGE_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define WAGE_TARGET_BEGIN(features) \
    WAGE_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define WAGE_TARGET_END WAGE_PRAGMA(clang attribute pop)
#else
#define WAGE_TARGET_BEGIN(features) WAGE_PRAGMA(GCC push_options) WAGE_PRAGMA(GCC target(features))
#define WAGE_TARGET_END WAGE_PRAGMA(GCC pop_options)
#endif

#endif
