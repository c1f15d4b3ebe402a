/* Vectors whose lanes are sentences, [tags] or [tags, tags] of them at a step: what product(), best() and outer() of
 * vector.h do for one sentence, for LANES of them at once, and the way of numbers into lanes and out of them.
 */

/* How many vectors stay in registers. */
enum { BLOCK = LANES == 8 ? 16 : 10, OUTER_ROWS = LANES == 8 ? 4 : 2, OUTER_COLUMNS = LANES == 8 ? 6 : 5 };

/* K vectors of out[j] = sum_i x[i] m[i, j], or of max_i (x[i] + m[i, j]), where what is not a number does not count. */
INLINE void lane_block(const int MAX, const int K, vec *out, const vec *x, const double *m, int64_t rows,
                       int64_t width) {
    vec sums[BLOCK];
    for (int k = 0; k < K; k++) sums[k] = splat(MAX ? -INFINITY : 0);
    for (int64_t i = 0; i < rows; i++)
        for (int k = 0; k < K; k++) {
            double link = m[i * width + k];
            if (MAX)
                sums[k] = vmax(x[i] + link, sums[k]);
            else
                sums[k] += x[i] * link;
        }
    for (int k = 0; k < K; k++) out[k] = sums[k];
}

INLINE void lane_blocks(const int MAX, vec *out, const vec *x, const double *m, int64_t rows, int64_t width) {
    int64_t blocks = (rows + BLOCK - 1) / BLOCK, most = (rows + blocks - 1) / blocks;
    for (int64_t j = 0, k; j < rows; j += k) {
        k = rows - j < most ? rows - j : most;
        switch (k) {
#define CASE(K) case K: lane_block(MAX, K < BLOCK ? K : BLOCK, out + j, x, m + j, rows, width); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)
            CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
#undef CASE
        }
    }
}

/* out = x m in every lane, for a matrix [rows, rows] whose rows are width apart. */
static void lane_product(vec *out, const vec *x, const double *m, int64_t rows, int64_t width) {
    lane_blocks(0, out, x, m, rows, width);
}

/* The same in the algebra of (max, +). */
static void lane_best(vec *out, const vec *x, const double *m, int64_t rows, int64_t width) {
    lane_blocks(1, out, x, m, rows, width);
}

/* sums [tags, tags] += sum_t left_t[i] right_t[j], ROWS x K of them. */
INLINE void lane_outer_block(const int ROWS, const int K, vec *sums, const vec *left, const vec *right, int64_t steps,
                             int64_t tags) {
    vec s[OUTER_ROWS][OUTER_COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < K; k++) s[i][k] = sums[i * tags + k];
    for (int64_t t = 0; t < steps; t++)
        for (int i = 0; i < ROWS; i++)
            for (int k = 0; k < K; k++) s[i][k] += left[t * tags + i] * right[t * tags + k];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < K; k++) sums[i * tags + k] = s[i][k];
}

INLINE void lane_outer_rows(const int ROWS, vec *sums, const vec *left, const vec *right, int64_t steps, int64_t tags) {
    int64_t blocks = (tags + OUTER_COLUMNS - 1) / OUTER_COLUMNS, most = (tags + blocks - 1) / blocks;
    for (int64_t j = 0, k; j < tags; j += k) {
        k = tags - j < most ? tags - j : most;
        switch (k) {
        case 1: lane_outer_block(ROWS, 1, sums + j, left, right + j, steps, tags); break;
        case 2: lane_outer_block(ROWS, 2, sums + j, left, right + j, steps, tags); break;
        case 3: lane_outer_block(ROWS, 3, sums + j, left, right + j, steps, tags); break;
        case 4: lane_outer_block(ROWS, 4, sums + j, left, right + j, steps, tags); break;
        case 5: lane_outer_block(ROWS, 5, sums + j, left, right + j, steps, tags); break;
        default: lane_outer_block(ROWS, OUTER_COLUMNS, sums + j, left, right + j, steps, tags);
        }
    }
}

/* sums [tags, tags] += sum_t left_t[i] right_t[j] over steps [steps, tags], some at a time, which stay in a cache. */
static void lane_outer(vec *sums, const vec *left, const vec *right, int64_t steps, int64_t tags) {
    enum { SOME = 32 };
    for (int64_t t = 0; t < steps; t += SOME) {
        const vec *l = left + t * tags, *r = right + t * tags;
        int64_t some = steps - t < SOME ? steps - t : SOME, i = 0;
        for (; i + OUTER_ROWS <= tags; i += OUTER_ROWS)
            lane_outer_rows(OUTER_ROWS, sums + i * tags, l + i, r, some, tags);
        for (; i < tags; i++) lane_outer_rows(1, sums + i * tags, l + i, r, some, tags);
    }
}

/* Bit l: lane l is inside [low, high]. */
INLINE unsigned within(vec x, double low, double high) {
    return at_least(x, splat(low)) & at_least(splat(high), x);
}

/* The first n of LANES neighbouring numbers, none of them where n <= 0; `rest` in the other lanes. */
INLINE vec load_part(const void *in, int64_t at, int64_t n, double rest, int64_t wide) {
#if LANES == 8
    __mmask8 inside = n > 0 ? first_lanes(n) : 0;
    __m512d others = _mm512_set1_pd(rest);
    if (wide) return (vec)_mm512_mask_loadu_pd(others, inside, (const double *)in + at);
    return (vec)_mm512_mask_cvtps_pd(others, inside, _mm256_maskz_loadu_ps(inside, (const float *)in + at));
#else
    vec out = splat(rest);
    for (int l = 0; l < LANES && l < n; l++) out[l] = wide ? ((const double *)in)[at + l] : ((const float *)in)[at + l];
    return out;
#endif
}

INLINE void store_part(void *out, int64_t at, vec x, int64_t n, int64_t wide) {
#if LANES == 8
    __mmask8 inside = n > 0 ? first_lanes(n) : 0;
    if (wide)
        _mm512_mask_storeu_pd((double *)out + at, inside, (__m512d)x);
    else
        _mm256_mask_storeu_ps((float *)out + at, inside, _mm512_cvtpd_ps((__m512d)x));
#else
    for (int l = 0; l < LANES && l < n; l++) {
        if (wide)
            ((double *)out)[at + l] = x[l];
        else
            ((float *)out)[at + l] = (float)x[l];
    }
#endif
}

/* Rows become columns. */
INLINE void transpose(vec x[LANES]) {
#if LANES == 8
    __m512d a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_pd((__m512d)x[i], (__m512d)x[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd((__m512d)x[i], (__m512d)x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + j] = _mm512_shuffle_f64x2(a[i + j], a[i + j + 2], 0x88);
            b[i + j + 2] = _mm512_shuffle_f64x2(a[i + j], a[i + j + 2], 0xdd);
        }
    for (int j = 0; j < 4; j++) {
        x[j] = (vec)_mm512_shuffle_f64x2(b[j], b[j + 4], 0x88);
        x[j + 4] = (vec)_mm512_shuffle_f64x2(b[j], b[j + 4], 0xdd);
    }
#elif LANES == 4
    __m256d a[4];
    for (int i = 0; i < 4; i += 2) {
        a[i] = _mm256_unpacklo_pd((__m256d)x[i], (__m256d)x[i + 1]);
        a[i + 1] = _mm256_unpackhi_pd((__m256d)x[i], (__m256d)x[i + 1]);
    }
    for (int j = 0; j < 2; j++) {
        x[j] = (vec)_mm256_permute2f128_pd(a[j], a[j + 2], 0x20);
        x[j + 2] = (vec)_mm256_permute2f128_pd(a[j], a[j + 2], 0x31);
    }
#endif
}
