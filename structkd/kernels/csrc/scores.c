/* The entries that need no dynamic programme: scores of given paths and expectations, gradients, lengths and masks. */
#include "structkd.h"

#include "scores.h"

#include <stdlib.h>

EXPORT int64_t structkd_check_paths(const potentials *p, const int64_t *tags, int64_t k) {
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t i = 0; i < k; i++)
            if (is_path(p, b, tags + (b * k + i) * p->length) < 0) return b;
    return -1;
}

EXPORT int64_t structkd_path_scores(const potentials *p, const int64_t *tags, int64_t k, void *scores) {
    for (int64_t i = 0; i < p->batch * k; i++) {
        const int64_t *path = tags + i * p->length;
        put(scores, i, path[0] < 0 ? -INFINITY : path_score(p, i / k, path), p->wide);
    }
    return -1;
}

/* ---- expectations of somebody else ---- */

EXPORT int64_t structkd_expected_score(const potentials *p, const void *marginals, const void *pairs,
                                       int64_t by_position, void *scores) {
    for (int64_t b = 0; b < p->batch; b++) put(scores, b, expected_score(p, b, marginals, pairs, by_position), p->wide);
    return -1;
}

/* weights [B] times expectations, in the shapes of the potentials: summed over the sentences that share them. Without
 * weights they are 1, and the emissions are left out. */
EXPORT int64_t structkd_weigh(const potentials *p, const void *weights, int64_t weights_b, const void *unary,
                              const void *pairs, void *emissions, void *transitions, void *start, void *end) {
    int64_t tags = p->tags, wide = p->wide, size = tags * tags * (p->transitions_t ? p->length - 1 : 1);
    int64_t shared = tags * (2 + (p->transitions_b ? 0 : tags));
    double *sums = calloc((size_t)shared, sizeof(double)), *pair_sums = sums + 2 * tags;
    if (!sums) return OUT_OF_MEMORY;
    for (int64_t b = 0; b < p->batch; b++) {
        int64_t n = p->lengths[b], from = b * p->length * tags, last = from + (n - 1) * tags;
        double w = weights ? at(weights, b * weights_b, wide) : 1;
        if (wide) {
            const double *in = (const double *)unary + from;
            double *out = (double *)emissions + from;
            for (int64_t i = 0; emissions && i < n * tags; i++) out[i] = w * in[i];
            for (int64_t i = n * tags; emissions && i < p->length * tags; i++) out[i] = 0;
            for (int64_t i = 0; pairs && !p->transitions_b && i < size; i++)
                pair_sums[i] += w * ((const double *)pairs)[b * size + i];
        } else {
            const float *in = (const float *)unary + from;
            float *out = (float *)emissions + from, v = (float)w;
            for (int64_t i = 0; emissions && i < n * tags; i++) out[i] = v * in[i];
            for (int64_t i = n * tags; emissions && i < p->length * tags; i++) out[i] = 0;
            for (int64_t i = 0; pairs && !p->transitions_b && i < size; i++)
                pair_sums[i] += w * (double)((const float *)pairs)[b * size + i];
        }
        for (int64_t i = 0; pairs && p->transitions_b && i < size; i++)
            put(transitions, b * size + i, w * at(pairs, b * size + i, wide), wide);
        for (int64_t c = 0; c < tags; c++) {
            double first = w * at(unary, from + c, wide), final = w * at(unary, last + c, wide);
            if (p->start_b)
                put(start, b * tags + c, first, wide);
            else
                sums[c] += first;
            if (p->end_b)
                put(end, b * tags + c, final, wide);
            else
                sums[tags + c] += final;
        }
    }
    for (int64_t c = 0; c < tags; c++) {
        if (!p->start_b) put(start, c, sums[c], wide);
        if (!p->end_b) put(end, c, sums[tags + c], wide);
    }
    for (int64_t i = 0; pairs && !p->transitions_b && i < size; i++) put(transitions, i, pair_sums[i], wide);
    free(sums);
    return -1;
}

/* ---- lengths and masks ---- */

EXPORT int64_t structkd_are_lengths(const int64_t *lengths, int64_t batch, int64_t length) {
    for (int64_t b = 0; b < batch; b++)
        if (lengths[b] < 1 || lengths[b] > length) return 0;
    return 1;
}

enum { HOLES = 1, FIRST_OFF = 2, EMPTY = 4 };

/* Lengths of a mask [B, T] of bytes, and what is unusual about it. */
EXPORT int64_t structkd_mask(const uint8_t *mask, int64_t mask_b, int64_t mask_t, int64_t batch, int64_t length,
                             int64_t *lengths) {
    int64_t found = 0;
    for (int64_t b = 0; b < batch; b++) {
        const uint8_t *row = mask + b * mask_b;
        int64_t n = 0, last = -1;
        for (int64_t t = 0; t < length; t++)
            if (row[t * mask_t]) n++, last = t;
        lengths[b] = n;
        if (n == 0)
            found |= EMPTY | FIRST_OFF;
        else if (!row[0])
            found |= FIRST_OFF | HOLES;
        else if (last != n - 1)
            found |= HOLES;
    }
    return found;
}
