/* A vector of LANES doubles, and the few things the kernels do with it. Included after LANES is defined.
 *
 * Rows in scratch memory are padded to whole vectors and aligned, so there are no loose ends anywhere else.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
typedef double vec __attribute__((vector_size(8 * LANES), may_alias));
typedef int64_t bits __attribute__((vector_size(8 * LANES), may_alias));
#else
#error "the cpu backend needs the vector extensions of GCC or Clang"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

INLINE vec splat(double x) {
    return x - (vec){0};
}

/* b where one of them is NaN. */
INLINE vec vmax(vec a, vec b) {
#if LANES == 8
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif LANES == 4
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__x86_64__)
    return (vec)_mm_max_pd((__m128d)a, (__m128d)b);
#else
    bits larger = (bits)(a > b);
    return (vec)((larger & (bits)a) | (~larger & (bits)b));
#endif
}

INLINE vec vmin(vec a, vec b) {
    return -vmax(-a, -b);
}

/* One bit for every lane where a >= b. */
INLINE unsigned at_least(vec a, vec b) {
#if LANES == 8
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GE_OQ);
#elif LANES == 4
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_GE_OQ));
#else
    bits comparison = (bits)(a >= b);
    unsigned lanes = 0;
    for (int l = 0; l < LANES; l++) lanes |= (unsigned)(comparison[l] & 1) << l;
    return lanes;
#endif
}

INLINE double sum_of(vec x) {
#if LANES == 8
    return _mm512_reduce_add_pd((__m512d)x);
#endif
    double total = x[0];
    for (int l = 1; l < LANES; l++) total += x[l];
    return total;
}

INLINE double max_of(vec x) {
#if LANES == 8
    return _mm512_reduce_max_pd((__m512d)x);
#endif
    double best = x[0];
    for (int l = 1; l < LANES; l++) best = x[l] > best ? x[l] : best;
    return best;
}

/* exp(x) for x <= 709: 2^k p(r) with |r| <= ln(2)/2 and the polynomial of degree 10 whose largest relative error is least
 * (2e-16, by Remez' exchange); 0 below -708, NaN for NaN. */
INLINE vec vexp(vec x) {
    const double shifter = 0x1.8p52; /* adding it rounds to an integer, kept in the low bits */
    vec shifted = x * 0x1.71547652b82fep0 + shifter;
    vec k = shifted - shifter;
    vec r = x - k * 0x1.62e42fefa39efp-1 - k * 0x1.abc9e3b39803fp-56;
    vec p = splat(0x1.27279ed1bbf13p-22);
    p = p * r + 0x1.72f993b7af18cp-19;
    p = p * r + 0x1.a01b6d08ba15ap-16;
    p = p * r + 0x1.a0197a40d0e11p-13;
    p = p * r + 0x1.6c16c0c092728p-10;
    p = p * r + 0x1.1111112d4dc76p-7;
    p = p * r + 0x1.555555559348dp-5;
    p = p * r + 0x1.555555554bbeap-3;
    p = p * r + 0x1.ffffffffffe17p-2;
    p = p * r + 0x1.000000000001dp+0;
    p = p * r + 1.0;
#if LANES == 8
    __mmask8 kept = _mm512_cmp_pd_mask((__m512d)x, _mm512_set1_pd(-708.0), _CMP_NLT_UQ);
    return (vec)_mm512_maskz_scalef_pd(kept, (__m512d)p, (__m512d)k);
#else
    bits power = ((bits)shifted + 1023) << 52; /* 2^k; the upper bits of the shifter are shifted out */
    bits vanished = (bits)(x < -708.0);
    return (vec)((bits)(p * (vec)power) & ~vanished);
#endif
}

#if LANES == 8
INLINE __mmask8 first_lanes(int64_t n) {
    return (__mmask8)(n >= LANES ? 0xff : (1 << n) - 1);
}
#endif

INLINE void load(double *restrict out, const void *in, int64_t at, int64_t n, int64_t wide) {
    if (wide) {
        memcpy(out, (const double *)in + at, (size_t)n * sizeof(double));
    } else {
        const float *from = (const float *)in + at;
        for (int64_t i = 0; i < n; i++) out[i] = from[i];
    }
}

INLINE void store(void *out, int64_t at, const double *restrict in, int64_t n, int64_t wide) {
    if (wide) {
        memcpy((double *)out + at, in, (size_t)n * sizeof(double));
        return;
    }
    float *to = (float *)out + at;
#if LANES == 8
    for (int64_t i = 0; i < n; i += LANES)
        _mm256_mask_storeu_ps(to + i, first_lanes(n - i), _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(first_lanes(n - i), in + i)));
#else
    for (int64_t i = 0; i < n; i++) to[i] = (float)in[i];
#endif
}

INLINE void store_zeros(void *out, int64_t at, int64_t n, int64_t wide) {
    size_t size = wide ? sizeof(double) : sizeof(float);
    if (n > 0) memset((char *)out + (size_t)at * size, 0, (size_t)n * size);
}

INLINE void fill(double *row, int64_t from, int64_t to, double value) {
    for (int64_t i = from; i < to; i++) row[i] = value;
}

/* One row of tags, the padding -inf. */
INLINE void load_row(double *restrict out, const void *in, int64_t at, int64_t tags, int64_t width, int64_t wide) {
#if LANES == 8
    const __m512d none = _mm512_set1_pd(-INFINITY);
    for (int64_t j = 0; j < width; j += LANES) {
        __mmask8 inside = first_lanes(tags - j);
        *(__m512d *)(out + j) = wide ? _mm512_mask_loadu_pd(none, inside, (const double *)in + at + j)
            : _mm512_mask_cvtps_pd(none, inside, _mm256_maskz_loadu_ps(inside, (const float *)in + at + j));
    }
#else
    load(out, in, at, tags, wide);
    fill(out, tags, width, -INFINITY);
#endif
}

/* x = exp(x - max) over whole vectors; returns max, or 0 where all is -inf. */
INLINE double soften(double *x, int64_t n) {
    vec best = *(vec *)x;
    for (int64_t j = LANES; j < n; j += LANES) best = vmax(best, *(vec *)(x + j));
    double top = max_of(best);
    if (top == -INFINITY) top = 0;
    for (int64_t j = 0; j < n; j += LANES) *(vec *)(x + j) = vexp(*(vec *)(x + j) - top);
    return top;
}

/* The first of the parts, about equal and at most 4, that n vectors are cut into: 9 is 3 + 3 + 3, not 4 + 4 + 1. */
INLINE int64_t share_of_4(int64_t n) {
    return n <= 4 ? n : n == 5 || n == 6 || n == 9 ? 3 : 4;
}

INLINE int64_t share_of_3(int64_t n) {
    return n <= 3 ? n : n == 4 ? 2 : 3;
}

/* K neighbouring vectors of out[j] = weights[j] * sum_i x[i] m[i, j]; weights may be NULL. Even and odd rows are summed
 * apart, which halves the chain of dependent additions. */
INLINE vec product_block(const int K, double *out, const double *x, const double *m, const double *weights,
                         int64_t rows, int64_t width) {
    vec a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, b0 = {0}, b1 = {0}, b2 = {0}, b3 = {0};
    int64_t i = 0;
    for (; i + 1 < rows; i += 2) {
        const vec *even = (const vec *)(m + i * width), *odd = (const vec *)(m + (i + 1) * width);
        a0 += x[i] * even[0], b0 += x[i + 1] * odd[0];
        if (K > 1) a1 += x[i] * even[1], b1 += x[i + 1] * odd[1];
        if (K > 2) a2 += x[i] * even[2], b2 += x[i + 1] * odd[2];
        if (K > 3) a3 += x[i] * even[3], b3 += x[i + 1] * odd[3];
    }
    if (i < rows) {
        const vec *even = (const vec *)(m + i * width);
        a0 += x[i] * even[0];
        if (K > 1) a1 += x[i] * even[1];
        if (K > 2) a2 += x[i] * even[2];
        if (K > 3) a3 += x[i] * even[3];
    }
    vec *to = (vec *)out;
    const vec *w = (const vec *)weights;
    vec total = to[0] = w ? (a0 + b0) * w[0] : a0 + b0;
    if (K > 1) total += to[1] = w ? (a1 + b1) * w[1] : a1 + b1;
    if (K > 2) total += to[2] = w ? (a2 + b2) * w[2] : a2 + b2;
    if (K > 3) total += to[3] = w ? (a3 + b3) * w[3] : a3 + b3;
    return total;
}

/* out = weights * (x m) for a row vector x [rows] and a matrix m [rows, width]; returns the sum of out. */
INLINE double product(double *out, const double *x, const double *m, const double *weights, int64_t rows,
                      int64_t width) {
    vec total = {0};
    for (int64_t j = 0, k; j < width; j += k * LANES) {
        const double *w = weights ? weights + j : weights;
        switch (k = share_of_4((width - j) / LANES)) {
        case 4: total += product_block(4, out + j, x, m + j, w, rows, width); break;
        case 3: total += product_block(3, out + j, x, m + j, w, rows, width); break;
        case 2: total += product_block(2, out + j, x, m + j, w, rows, width); break;
        default: total += product_block(1, out + j, x, m + j, w, rows, width);
        }
    }
    return sum_of(total);
}

/* a (+ b) (+ c) from j on, and -inf at one index, if it is not -1. By a mask: to read a vector just behind a smaller write
 * to it is slow. */
INLINE vec sum_but(const double *a, const double *b, const double *c, int64_t j, int64_t skipped) {
    vec sum = *(const vec *)(a + j);
    if (b) sum += *(const vec *)(b + j);
    if (c) sum += *(const vec *)(c + j);
    if (skipped < j || skipped >= j + LANES) return sum;
#if LANES == 8
    return (vec)_mm512_mask_blend_pd((__mmask8)(1 << (skipped - j)), (__m512d)sum, _mm512_set1_pd(-INFINITY));
#else
    for (int l = 0; l < LANES; l++) sum[l] = l == skipped - j ? -INFINITY : sum[l];
    return sum;
#endif
}

/* The first i where the sum is the maximum; the last where there is none (NaN). */
INLINE int64_t first_sum(const double *a, const double *b, const double *c, int64_t skipped, double maximum,
                         int64_t tags, int64_t width) {
    for (int64_t j = 0; j < width; j += LANES) {
        unsigned found = at_least(sum_but(a, b, c, j, skipped), splat(maximum));
        if (found) return j + __builtin_ctz(found);
    }
    return tags - 1;
}

INLINE double best_sum(const double *a, const double *b, const double *c, int64_t skipped, int64_t width) {
    vec top = splat(-INFINITY);
    for (int64_t j = 0; j < width; j += LANES) top = vmax(top, sum_but(a, b, c, j, skipped));
    return max_of(top);
}

/* K vectors of out[j] = max_i (x[i] + m[i, j]) over all rows, or over those in a set: bit i of word i / 64. */
INLINE void best_block(const int K, double *out, const double *x, const double *m, const uint64_t *set, int64_t rows,
                       int64_t width) {
    vec most[4];
    for (int k = 0; k < K; k++) most[k] = splat(-INFINITY);
    for (int64_t first = 0; set && first < rows; first += 64)
        for (uint64_t left = set[first / 64]; left; left &= left - 1) {
            int64_t i = first + __builtin_ctzll(left);
            const vec *row = (const vec *)(m + i * width);
            for (int k = 0; k < K; k++) most[k] = vmax(x[i] + row[k], most[k]);
        }
    for (int64_t i = 0; !set && i < rows; i++) {
        const vec *row = (const vec *)(m + i * width);
        for (int k = 0; k < K; k++) most[k] = vmax(x[i] + row[k], most[k]);
    }
    for (int k = 0; k < K; k++) ((vec *)out)[k] = most[k];
}

/* out = x m in the algebra of (max, +); what is not a number does not count. */
INLINE void best(double *out, const double *x, const double *m, const uint64_t *set, int64_t rows, int64_t width) {
    for (int64_t j = 0, k; j < width; j += k * LANES) {
        switch (k = share_of_4((width - j) / LANES)) {
        case 4: best_block(4, out + j, x, m + j, set, rows, width); break;
        case 3: best_block(3, out + j, x, m + j, set, rows, width); break;
        case 2: best_block(2, out + j, x, m + j, set, rows, width); break;
        default: best_block(1, out + j, x, m + j, set, rows, width);
        }
    }
}

/* ROWS x K vectors of sums[i, j] += sum_t left[t, i] right[t, j]. */
INLINE void outer_block(const int ROWS, const int K, double *sums, const double *left, const double *right,
                        int64_t steps, int64_t width) {
    vec s00 = {0}, s01 = {0}, s02 = {0}, s10 = {0}, s11 = {0}, s12 = {0};
    vec s20 = {0}, s21 = {0}, s22 = {0}, s30 = {0}, s31 = {0}, s32 = {0};
    for (int64_t t = 0; t < steps; t++) {
        const double *l = left + t * width;
        const vec *r = (const vec *)(right + t * width);
        s00 += l[0] * r[0];
        if (K > 1) s01 += l[0] * r[1];
        if (K > 2) s02 += l[0] * r[2];
        if (ROWS > 1) {
            s10 += l[1] * r[0], s20 += l[2] * r[0], s30 += l[3] * r[0];
            if (K > 1) s11 += l[1] * r[1], s21 += l[2] * r[1], s31 += l[3] * r[1];
            if (K > 2) s12 += l[1] * r[2], s22 += l[2] * r[2], s32 += l[3] * r[2];
        }
    }
    vec *to = (vec *)sums;
    to[0] += s00;
    if (K > 1) to[1] += s01;
    if (K > 2) to[2] += s02;
    if (ROWS > 1) {
        vec *to1 = (vec *)(sums + width), *to2 = (vec *)(sums + 2 * width), *to3 = (vec *)(sums + 3 * width);
        to1[0] += s10, to2[0] += s20, to3[0] += s30;
        if (K > 1) to1[1] += s11, to2[1] += s21, to3[1] += s31;
        if (K > 2) to1[2] += s12, to2[2] += s22, to3[2] += s32;
    }
}

INLINE void outer_rows(const int ROWS, double *sums, const double *left, const double *right, int64_t steps,
                       int64_t width) {
    for (int64_t j = 0, k; j < width; j += k * LANES) {
        switch (k = share_of_3((width - j) / LANES)) {
        case 3: outer_block(ROWS, 3, sums + j, left, right + j, steps, width); break;
        case 2: outer_block(ROWS, 2, sums + j, left, right + j, steps, width); break;
        default: outer_block(ROWS, 1, sums + j, left, right + j, steps, width);
        }
    }
}

/* sums [rows, width] += sum_t left_t right_t^T, kept in registers over t. */
INLINE void outer(double *sums, const double *left, const double *right, int64_t steps, int64_t rows, int64_t width) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) outer_rows(4, sums + i * width, left + i, right, steps, width);
    for (; i < rows; i++) outer_rows(1, sums + i * width, left + i, right, steps, width);
}
