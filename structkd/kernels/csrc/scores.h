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
