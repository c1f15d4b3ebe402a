/* The forward-backward pass over one sentence in scaled exp space, and its way out when float64 is not wide enough. */

typedef struct {
    int64_t n, tags, width;
    double *weights; /* [n, width] exp(emissions - max) times the scale of the step */
    double *alpha; /* [n, width] forward: all prefixes that end here, this step's weight included */
    double *beta; /* [n, width] backward: all suffixes that follow; sum_c alpha_t beta_t = 1 at every t */
    double *arrive; /* [n, width] weights * beta */
    const double *start, *end; /* [width] exp(scores - max) */
    const double *step, *back; /* exp(transitions - max) [tags, width] and its transpose, of the first pair of steps */
    int64_t stride; /* to the next pair of steps: 0, or tags * width */
    double log_z;
    int alive; /* some path is legal and the potentials are numbers */
    int nothing_to_lose; /* small alphas are small probabilities */
} sentence;

/* Sums are rescaled when they leave this range; ordinary steps cost no division and no logarithm. */
#define SMALL 1e-80
#define LARGE 1e80
/* An alpha below this may have lost a prefix by underflow. */
#define LEAST_ALPHA 1e-290
/* A weight or an entry of a matrix that underflows is below 1e-308. It is multiplied with something below LARGE and with
 * something below this: the loss is below 1e-18. */
#define LARGEST_BETA 1e210
#define FIRST_CACHE (24 << 10) /* bytes of it for the matrices */

INLINE const double *step_from(const sentence *s, int64_t t) {
    return s->step + t * s->stride;
}

INLINE const double *back_from(const sentence *s, int64_t t) {
    return s->back + t * s->stride;
}

INLINE int fit_together(const sentence *s) {
    return 2 * s->tags * s->width * (int64_t)sizeof(double) <= FIRST_CACHE;
}

/* exp(scores - max) as rows and transposed; returns max, or 0 where all is -inf. */
static double matrix(double *step, double *back, const void *scores, int64_t at, int64_t tags, int64_t width,
                     int64_t wide) {
    for (int64_t i = 0; i < tags; i++) load_row(step + i * width, scores, at + i * tags, tags, width, wide);
    double top = soften(step, tags * width);
    for (int64_t j = 0; j < tags; j++) {
        for (int64_t i = 0; i < tags; i++) back[j * width + i] = step[i * width + j];
        fill(back, j * width + tags, (j + 1) * width, 0);
    }
    return top;
}

/* exp(scores - max) of start and end; returns the sum of the two maxima. */
static double ends(double *start, double *end, const request *r, int64_t b) {
    const potentials *p = &r->p;
    load_row(start, p->start, b * p->start_b, p->tags, r->width, p->wide);
    load_row(end, p->end, b * p->end_b, p->tags, r->width, p->wide);
    return soften(start, r->width) + soften(end, r->width);
}

/* x = x / sum where a sum has left its range; returns the factor, or 0 where there is no sum. */
static double rescale(double *x, double sum, int64_t width) {
    if (!(sum > 0 && sum < INFINITY)) return 0;
    double factor = 1 / sum;
    for (int64_t j = 0; j < width; j += LANES) *(vec *)(x + j) *= factor;
    return factor;
}

INLINE int out_of_range(double sum) {
    return !(sum > SMALL && sum < LARGE);
}

INLINE double times(double *out, const double *a, const double *b, int64_t width) {
    vec total = {0};
    for (int64_t j = 0; j < width; j += LANES) total += *(vec *)(out + j) = *(const vec *)(a + j) * *(const vec *)(b + j);
    return sum_of(total);
}

INLINE double dot(const double *a, const double *b, int64_t width) {
    vec total = {0};
    for (int64_t j = 0; j < width; j += LANES) total += *(const vec *)(a + j) * *(const vec *)(b + j);
    return sum_of(total);
}

/* Whether a prefix was lost at step t: alpha is small where some way leads to, not where there is none. */
static int has_lost(const sentence *s, int64_t t) {
    int64_t width = s->width;
    const double *alpha = s->alpha + t * width, *weights = s->weights + t * width, *before = alpha - width;
    for (int64_t c = 0; c < s->tags; c++) {
        if (alpha[c] >= LEAST_ALPHA || weights[c] == 0) continue;
        if (t == 0 && s->start[c] > 0) return 1;
        for (int64_t i = 0; t > 0 && i < s->tags; i++)
            if (before[i] > 0 && step_from(s, t - 1)[i * width + c] > 0) return 1;
    }
    return 0;
}

/* Where alpha is small and the weight is not 0, which it is behind the tags. */
INLINE unsigned small_alphas(const double *alpha, const double *weights, int64_t width) {
    unsigned small = 0;
    for (int64_t j = 0; j < width; j += LANES)
        small |= ~at_least(*(const vec *)(alpha + j), splat(LEAST_ALPHA)) & ~at_least((vec){0}, *(const vec *)(weights + j));
    return small & ((1u << LANES) - 1);
}

/* One step of the forward recursion; 0, or -1 where nothing is left of the sum. */
INLINE int alpha_step(sentence *s, int64_t t, double *log_scale, int *rescaled) {
    int64_t width = s->width;
    double *alpha = s->alpha + t * width, *weights = s->weights + t * width;
    double sum = t ? product(alpha, alpha - width, step_from(s, t - 1), weights, s->tags, width)
                   : times(alpha, s->start, weights, width);
    if (small_alphas(alpha, weights, width) && !s->nothing_to_lose && has_lost(s, t)) return -1;
    if (out_of_range(sum)) {
        double factor = rescale(alpha, sum, width);
        if (factor == 0) return -1;
        /* The weights take part: alpha_t = weights_t (alpha_t-1 M) still holds. */
        for (int64_t j = 0; j < width; j += LANES) *(vec *)(weights + j) *= factor;
        *log_scale -= log(factor);
        *rescaled = 1;
    }
    return 0;
}

/* One step of the backward recursion, from t to t-1. */
INLINE int beta_step(sentence *s, int64_t t, int *rescaled) {
    double *beta = s->beta + t * s->width, *arrive = s->arrive + t * s->width;
    double sum = times(arrive, beta, s->weights + t * s->width, s->width);
    if (out_of_range(sum)) {
        if (rescale(arrive, sum, s->width) == 0) return -1;
        *rescaled = 1;
    }
    product(beta - s->width, arrive, back_from(s, t - 1), NULL, s->tags, s->width);
    return 0;
}

/* Both recursions, each in its own scale, which the last pass makes one. Two chains of dependent operations at once
 * keep the processor busier than one, as long as both matrices fit into its first cache. log_z is log Z without the
 * shifts that were taken out of the potentials. 0 on success, -1 where float64 was not wide enough, or no path is
 * legal. */
static int both_ways(sentence *s, double *log_z) {
    int64_t n = s->n, width = s->width;
    double log_scale = 0;
    int rescaled = 0, together = fit_together(s);
    memcpy(s->beta + (n - 1) * width, s->end, (size_t)width * sizeof(double));
    for (int64_t t = 0; t < n; t++) {
        if (alpha_step(s, t, &log_scale, &rescaled)) return -1;
        if (together && t < n - 1 && beta_step(s, n - 1 - t, &rescaled)) return -1;
    }
    for (int64_t t = n - 1; !together && t > 0; t--)
        if (beta_step(s, t, &rescaled)) return -1;
    double z = dot(s->alpha + (n - 1) * width, s->end, width);
    if (!(z > 0 && z < INFINITY)) return -1;
    *log_z = log(z) + log_scale;
    double factor = 1;
    vec top = {0};
    for (int64_t t = 0; t < n; t++) {
        double *beta = s->beta + t * width;
        if (t == 0 || rescaled) {
            double total = dot(s->alpha + t * width, beta, width);
            if (!(total > 1e-300 && total < 1e300)) return -1;
            factor = 1 / total;
        }
        for (int64_t j = 0; j < width; j += LANES) {
            vec b = *(vec *)(beta + j) * factor;
            *(vec *)(beta + j) = b;
            *(vec *)(s->arrive + t * width + j) = b * *(vec *)(s->weights + t * width + j);
            top = vmax(top, b);
        }
    }
    return max_of(top) < LARGEST_BETA && fabs(dot(s->alpha, s->beta, width) - 1) < 1e-6 ? 0 : -1;
}

static double log_sum_exp(const double *x, int64_t n) {
    double top = x[0], total = 0;
    for (int64_t i = 1; i < n; i++) top = x[i] > top || x[i] != x[i] ? x[i] : top;
    if (top == -INFINITY) return top;
    for (int64_t i = 0; i < n; i++) total += exp(x[i] - top);
    return top + log(total);
}

/* The same distribution with other potentials, for which float64 is wide enough: the chain written as a Markov chain,
 * p(y_1) and p(y_t+1 | y_t), from the backward algorithm in log space. Slow, exact, rarely needed. Sets log_z, and
 * alive where there is a path. */
static int regauge(sentence *s, const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t n = s->n, tags = s->tags, width = s->width;
    double *emissions = arena_take(memory, n * width), *suffix = arena_take(memory, n * width);
    double *scores = arena_take(memory, tags * width), *terms = arena_take(memory, width);
    double *step = arena_take(memory, n * tags * width), *back = arena_take(memory, n * tags * width);
    double *start = arena_take(memory, width), *end = arena_take(memory, width);
    if (!emissions || !suffix || !scores || !terms || !step || !back || !start || !end) return -1;
    for (int64_t t = 0; t < n; t++)
        load(emissions + t * width, p->emissions, b * p->emissions_b + t * p->emissions_t, tags, p->wide);
    load(suffix + (n - 1) * width, p->end, b * p->end_b, tags, p->wide);
    memset(step, 0, (size_t)(n * tags * width) * sizeof(double));
    memset(back, 0, (size_t)(n * tags * width) * sizeof(double));
    for (int64_t t = n - 2; t >= 0; t--) {
        const double *next = suffix + (t + 1) * width, *emission = emissions + (t + 1) * width;
        int64_t at = b * p->transitions_b + t * p->transitions_t;
        for (int64_t i = 0; i < tags; i++) {
            load(scores, p->transitions, at + i * tags, tags, p->wide);
            for (int64_t j = 0; j < tags; j++) terms[j] = scores[j] + emission[j] + next[j];
            double total = suffix[t * width + i] = log_sum_exp(terms, tags);
            for (int64_t j = 0; j < tags && total > -INFINITY; j++)
                step[(t * tags + i) * width + j] = back[(t * tags + j) * width + i] = exp(terms[j] - total);
        }
    }
    load(scores, p->start, b * p->start_b, tags, p->wide);
    for (int64_t c = 0; c < tags; c++) terms[c] = scores[c] + emissions[c] + suffix[c];
    s->log_z = log_sum_exp(terms, tags);
    s->alive = s->log_z > -INFINITY && s->log_z < INFINITY;
    if (!s->alive) return 0;
    for (int64_t j = 0; j < width; j++) {
        start[j] = j < tags ? exp(terms[j] - s->log_z) : 0;
        end[j] = j < tags && suffix[(n - 1) * width + j] > -INFINITY;
    }
    s->start = start;
    s->end = end;
    fill(s->weights, 0, n * width, 1);
    s->step = step;
    s->back = back;
    s->stride = tags * width;
    double zero;
    s->nothing_to_lose = 1;
    s->alive = both_ways(s, &zero) == 0;
    return 0;
}

/* exp(transitions - max) of one sentence, its transpose, and the sum of what was taken out over the n-1 pairs. */
static int own_matrices(sentence *s, const request *r, int64_t b, arena *memory, double *lifts) {
    const potentials *p = &r->p;
    *lifts = 0;
    if (s->n < 2) return 0;
    if (r->step) {
        s->step = r->step;
        s->back = r->back;
        *lifts = r->lift * (double)(s->n - 1);
        return 0;
    }
    int64_t pairs = p->transitions_t ? s->n - 1 : 1, size = s->tags * s->width;
    double *step = arena_take(memory, pairs * size), *back = arena_take(memory, pairs * size);
    if (!step || !back) return -1;
    for (int64_t t = 0; t < pairs; t++) {
        int64_t at = b * p->transitions_b + t * p->transitions_t;
        double lift = matrix(step + t * size, back + t * size, p->transitions, at, s->tags, s->width, p->wide);
        *lifts += p->transitions_t ? lift : lift * (double)(s->n - 1);
    }
    s->step = step;
    s->back = back;
    s->stride = p->transitions_t ? size : 0;
    return 0;
}

/* Where weights, alpha and beta of a sentence are: in the state that the caller keeps, or in scratch memory. */
static int take_rows(sentence *s, double *kept, int64_t kept_rows, arena *memory) {
    s->weights = kept ? kept : arena_take(memory, s->n * s->width);
    s->alpha = kept ? kept + kept_rows : arena_take(memory, s->n * s->width);
    s->beta = kept ? kept + 2 * kept_rows : arena_take(memory, s->n * s->width);
    return s->weights && s->alpha && s->beta ? 0 : -1;
}

/* Forward-backward over sentence b: all fields of s. */
static int sweep(sentence *s, const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t n = p->lengths[b], tags = p->tags, width = r->width, rows = p->length * width;
    *s = (sentence){.n = n, .tags = tags, .width = width, .alive = 1};
    double *kept = r->state ? r->state + b * 3 * rows : NULL, lifts, log_z;
    int done = r->resume && kept[rows] >= 0; /* an alpha of NaN marks a sentence that had to go through regauge */
    if (r->resume && !done) kept = NULL;
    double *start = NULL, *end = NULL;
    s->arrive = arena_take(memory, n * width);
    s->start = r->start ? r->start : (start = arena_take(memory, width));
    s->end = r->end ? r->end : (end = arena_take(memory, width));
    if (take_rows(s, kept, rows, memory) || !s->arrive || !s->start || !s->end) return -1;
    if (own_matrices(s, r, b, memory, &lifts)) return -1;
    if (done) {
        for (int64_t i = 0; i < n * width; i += LANES)
            *(vec *)(s->arrive + i) = *(vec *)(s->beta + i) * *(vec *)(s->weights + i);
        return 0;
    }
    double shift = start && end ? ends(start, end, r, b) : r->ends_lift;
    for (int64_t t = 0; t < n; t++) {
        load_row(s->weights + t * width, p->emissions, b * p->emissions_b + t * p->emissions_t, tags, width, p->wide);
        shift += soften(s->weights + t * width, width);
    }
    if (both_ways(s, &log_z) == 0) {
        s->log_z = log_z + shift + lifts;
        return 0;
    }
    if (kept) {
        s->alpha[0] = NAN;
        if (take_rows(s, NULL, 0, memory)) return -1;
    }
    return regauge(s, r, b, memory);
}
