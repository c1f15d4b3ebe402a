/* The operations for x86-64 processors with AVX2 and FMA: four doubles at a time. */
#if defined(__x86_64__)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 4
#define OPERATIONS structkd_avx2
#define OPERATIONS_NAME "avx2"
#include "operations.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
