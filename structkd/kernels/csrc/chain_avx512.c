/* The operations for x86-64 processors with AVX-512: eight doubles at a time. */
#if defined(__x86_64__)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define LANES 8
#define OPERATIONS structkd_avx512
#define OPERATIONS_NAME "avx512"
#include "operations.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
