/* Scores and counts of given paths and given expectations: single loops, no recursion. */
#include <math.h>
#include <string.h>

static inline double at(const void *x, int64_t i, int64_t wide) {
    return wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static inline void put(void *x, int64_t i, double value, int64_t wide) {
    if (wide)
        ((double *)x)[i] = value;
    else
        ((float *)x)[i] = (float)value;
}

/* Whether tags are a path of sentence b (1), -1 at every step (0), or neither (-1). */
static inline int is_path(const potentials *p, int64_t b, const int64_t *path) {
    int known = path[0] != -1;
    for (int64_t t = 0; t < p->lengths[b]; t++)
        if (known ? path[t] < 0 || path[t] >= p->tags : path[t] != -1) return -1;
    return known;
}

static inline double path_score(const potentials *p, int64_t b, const int64_t *path) {
    int64_t n = p->lengths[b], wide = p->wide;
    double score = at(p->start, b * p->start_b + path[0], wide) + at(p->end, b * p->end_b + path[n - 1], wide);
    for (int64_t t = 0; t < n; t++) {
        score += at(p->emissions, b * p->emissions_b + t * p->emissions_t + path[t], wide);
        if (t > 0) {
            int64_t pair = b * p->transitions_b + (t - 1) * p->transitions_t + path[t - 1] * p->tags + path[t];
            score += at(p->transitions, pair, wide);
        }
    }
    return score;
}

/* sum of mass * potential over n places, 0 where there is no mass. Eight sums at once, which is what vectors can do. */
#define DEFINE_MASS_DOT(NAME, FLOAT)                                                                                   \
    static inline double NAME(const FLOAT *mass, const FLOAT *potential, int64_t n) {                                  \
        double sums[8] = {0}, total = 0;                                                                               \
        int64_t i = 0;                                                                                                 \
        for (; i + 8 <= n; i += 8)                                                                                     \
            for (int l = 0; l < 8; l++) {                                                                              \
                double m = (double)mass[i + l], product = m * (double)potential[i + l];                                \
                sums[l] += m == 0 ? 0 : product;                                                                       \
            }                                                                                                          \
        for (; i < n; i++) total += mass[i] == 0 ? 0 : (double)mass[i] * (double)potential[i];                         \
        for (int l = 0; l < 8; l++) total += sums[l];                                                                  \
        return total;                                                                                                  \
    }
DEFINE_MASS_DOT(mass_dot_float, float)
DEFINE_MASS_DOT(mass_dot_double, double)

static inline double mass_dot(const void *mass, int64_t from, const void *potential, int64_t to, int64_t n,
                              int64_t wide) {
    if (wide) return mass_dot_double((const double *)mass + from, (const double *)potential + to, n);
    return mass_dot_float((const float *)mass + from, (const float *)potential + to, n);
}

/* The score of sentence b expected under somebody else's marginals [B, T, C] and pairs, which may be NULL. */
static inline double expected_score(const potentials *p, int64_t b, const void *marginals, const void *pairs,
                                    int64_t pairs_by_position) {
    int64_t n = p->lengths[b], tags = p->tags, size = tags * tags, wide = p->wide;
    int64_t first = b * p->length * tags, last = first + (n - 1) * tags;
    double total = mass_dot(marginals, first, p->start, b * p->start_b, tags, wide)
        + mass_dot(marginals, last, p->end, b * p->end_b, tags, wide);
    if (p->emissions_t == tags)
        total += mass_dot(marginals, first, p->emissions, b * p->emissions_b, n * tags, wide);
    else
        for (int64_t t = 0; t < n; t++)
            total += mass_dot(marginals, first + t * tags, p->emissions, b * p->emissions_b + t * p->emissions_t, tags,
                              wide);
    for (int64_t t = 0; pairs && t < (pairs_by_position ? n - 1 : 1); t++) {
        int64_t from = pairs_by_position ? (b * (p->length - 1) + t) * size : b * size;
        total += mass_dot(pairs, from, p->transitions, b * p->transitions_b + t * p->transitions_t, size, wide);
    }
    return total;
}
