/* The forward-backward pass over one sentence in scaled exp space, and its way out when float64 is not wide enough. */

typedef struct {
    int64_t n, tags, width;
    double *weights; /* [n, width] exp(emissions - max) times the scale of the step */
    double *alpha; /* [n, width] forward: all prefixes that end here, this step's weight included */
    double *beta; /* [n, width] backward: all suffixes that follow; sum_c alpha_t beta_t = 1 at every t */
    double *arrive; /* [n, width] weights * beta */
    double *start, *end; /* [width] */
    const double *step, *back; /* exp(transitions - max) [tags, width] and its transpose, of the first pair of steps */
    int64_t stride; /* to the next pair of steps: 0, or tags * width */
    double log_z;
    int alive; /* some path is legal and the potentials are numbers */
} sentence;

/* Sums are rescaled when they leave this range; ordinary steps cost no division and no logarithm. */
#define SMALL 1e-100
#define LARGE 1e100
/* What underflows in alpha is below 1e-308; as long as it is multiplied with less than this, the loss is below 1e-18. */
#define LARGEST_BETA 1e290

INLINE const double *step_from(const sentence *s, int64_t t) {
    return s->step + t * s->stride;
}

INLINE const double *back_from(const sentence *s, int64_t t) {
    return s->back + t * s->stride;
}

/* exp(scores - max) as rows and transposed; returns max, or 0 where all is -inf. */
static double matrix(double *step, double *back, const void *scores, int64_t at, int64_t tags, int64_t width,
                     int64_t wide) {
    vec best = splat(-INFINITY);
    for (int64_t i = 0; i < tags; i++) {
        double *row = step + i * width;
        load(row, scores, at + i * tags, tags, wide);
        fill(row, tags, width, -INFINITY);
        for (int64_t j = 0; j < width; j += LANES) best = vmax(best, *(vec *)(row + j));
    }
    double top = max_of(best);
    if (top == -INFINITY) top = 0;
    for (int64_t i = 0; i < tags * width; i += LANES) *(vec *)(step + i) = vexp(*(vec *)(step + i) - top);
    for (int64_t j = 0; j < tags; j++) {
        for (int64_t i = 0; i < tags; i++) back[j * width + i] = step[i * width + j];
        fill(back, j * width + tags, (j + 1) * width, 0);
    }
    return top;
}

/* log Z without the shifts that were taken out of the potentials; 0 on success. */
static int forward(sentence *s, double *log_z) {
    int64_t width = s->width;
    double log_scale = 0;
    for (int64_t t = 0; t < s->n; t++) {
        double *alpha = s->alpha + t * width, *weights = s->weights + t * width, sum;
        if (t == 0) {
            vec total = {0};
            for (int64_t j = 0; j < width; j += LANES)
                total += *(vec *)(alpha + j) = *(vec *)(s->start + j) * *(vec *)(weights + j);
            sum = sum_of(total);
        } else {
            sum = product(alpha, alpha - width, step_from(s, t - 1), weights, s->tags, width);
        }
        if (!(sum > SMALL && sum < LARGE)) {
            if (!(sum > 0 && sum < INFINITY)) return -1;
            double scale = 1 / sum;
            for (int64_t j = 0; j < width; j += LANES) *(vec *)(alpha + j) *= scale, *(vec *)(weights + j) *= scale;
            log_scale += log(sum);
        }
    }
    const double *last = s->alpha + (s->n - 1) * width;
    vec total = {0};
    for (int64_t j = 0; j < width; j += LANES) total += *(vec *)(last + j) * *(vec *)(s->end + j);
    double z = sum_of(total);
    if (!(z > 0 && z < INFINITY)) return -1;
    for (int64_t j = 0; j < width; j += LANES) *(vec *)(s->end + j) /= z;
    *log_z = log(z) + log_scale;
    return 0;
}

/* beta and arrive, in the scale of alpha; 0 unless underflow in alpha may have cost something. */
static int backward(sentence *s) {
    int64_t width = s->width;
    vec largest = {0};
    for (int64_t t = s->n - 1; t >= 0; t--) {
        double *beta = s->beta + t * width, *arrive = s->arrive + t * width;
        const double *weights = s->weights + t * width;
        if (t == s->n - 1)
            memcpy(beta, s->end, (size_t)width * sizeof(double));
        else
            product(beta, arrive + width, back_from(s, t), NULL, s->tags, width);
        for (int64_t j = 0; j < width; j += LANES) {
            vec b = *(vec *)(beta + j);
            largest = vmax(largest, b);
            *(vec *)(arrive + j) = b * *(vec *)(weights + j);
        }
    }
    vec total = {0};
    for (int64_t j = 0; j < width; j += LANES) total += *(vec *)(s->alpha + j) * *(vec *)(s->beta + j);
    return max_of(largest) < LARGEST_BETA && fabs(sum_of(total) - 1) < 1e-6 ? 0 : -1;
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
    if (!emissions || !suffix || !scores || !terms || !step || !back) return -1;
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
        s->start[j] = j < tags ? exp(terms[j] - s->log_z) : 0;
        s->end[j] = j < tags && suffix[(n - 1) * width + j] > -INFINITY;
    }
    fill(s->weights, 0, n * width, 1);
    s->step = step;
    s->back = back;
    s->stride = tags * width;
    double zero;
    s->alive = forward(s, &zero) == 0 && backward(s) == 0;
    return 0;
}

/* Forward-backward over sentence b: all fields of s. */
static int sweep(sentence *s, const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t n = p->lengths[b], tags = p->tags, width = r->width;
    *s = (sentence){.n = n, .tags = tags, .width = width, .alive = 1};
    s->weights = arena_take(memory, n * width);
    s->alpha = arena_take(memory, n * width);
    s->beta = arena_take(memory, n * width);
    s->arrive = arena_take(memory, n * width);
    s->start = arena_take(memory, width);
    s->end = arena_take(memory, width);
    if (!s->weights || !s->alpha || !s->beta || !s->arrive || !s->start || !s->end) return -1;
    double shift = 0;
    for (int64_t t = 0; t < n; t++) {
        double *row = s->weights + t * width;
        load(row, p->emissions, b * p->emissions_b + t * p->emissions_t, tags, p->wide);
        shift += soften(row, tags, width);
    }
    load(s->start, p->start, b * p->start_b, tags, p->wide);
    load(s->end, p->end, b * p->end_b, tags, p->wide);
    shift += soften(s->start, tags, width) + soften(s->end, tags, width);
    if (r->step) {
        s->step = r->step;
        s->back = r->back;
        shift += r->lift * (double)(n - 1);
    } else if (n > 1) {
        int64_t pairs = p->transitions_t ? n - 1 : 1, size = tags * width;
        double *step = arena_take(memory, pairs * size), *back = arena_take(memory, pairs * size);
        if (!step || !back) return -1;
        for (int64_t t = 0; t < pairs; t++) {
            int64_t at = b * p->transitions_b + t * p->transitions_t;
            double lift = matrix(step + t * size, back + t * size, p->transitions, at, tags, width, p->wide);
            shift += p->transitions_t ? lift : lift * (double)(n - 1);
        }
        s->step = step;
        s->back = back;
        s->stride = p->transitions_t ? size : 0;
    }
    double log_z;
    if (forward(s, &log_z) == 0 && backward(s) == 0) {
        s->log_z = log_z + shift;
        return 0;
    }
    return regauge(s, r, b, memory);
}
