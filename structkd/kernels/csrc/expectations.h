/* First and second derivatives of log Z: expectations, and their derivative along a direction. */

/* sums [tags, width] += sum_t left_t[i] M_t[i, j] right_t+1[j] */
static void add_pairs(double *sums, double *scratch, const sentence *s, const double *left, const double *right) {
    int64_t tags = s->tags, width = s->width;
    if (s->n < 2) return;
    if (s->stride == 0) {
        memset(scratch, 0, (size_t)(tags * width) * sizeof(double));
        outer(scratch, left, right + width, s->n - 1, tags, width);
        for (int64_t i = 0; i < tags * width; i += LANES) {
            vec step = *(const vec *)(s->step + i), product = *(vec *)(scratch + i) * step;
            *(vec *)(sums + i) += (vec)((bits)product & (bits)(step > 0)); /* what is forbidden may have overflowed */
        }
        return;
    }
    for (int64_t t = 0; t + 1 < s->n; t++)
        for (int64_t i = 0; i < tags; i++) {
            double from = left[t * width + i], *row = sums + i * width;
            const double *to = right + (t + 1) * width, *step = step_from(s, t) + i * width;
            for (int64_t j = 0; j < width; j += LANES)
                *(vec *)(row + j) += from * *(const vec *)(step + j) * *(const vec *)(to + j);
        }
}

/* Pair marginals of one pair of steps [tags, width]. */
static void edge(double *out, const sentence *s, int64_t t, const double *left, const double *right) {
    for (int64_t i = 0; i < s->tags; i++)
        for (int64_t j = 0; j < s->width; j += LANES)
            *(vec *)(out + i * s->width + j) = left[t * s->width + i]
                * *(const vec *)(step_from(s, t) + i * s->width + j) * *(const vec *)(right + (t + 1) * s->width + j);
}

static void store_matrix(void *out, int64_t at, const double *m, int64_t tags, int64_t width, int64_t wide) {
    for (int64_t i = 0; i < tags; i++) store(out, at + i * tags, m + i * width, tags, wide);
}

INLINE int64_t pair_size(const request *r) {
    return r->p.tags * r->p.tags * (r->edges ? r->p.length - 1 : 1);
}

/* A sentence without a path, or beyond what was asked: zeros. */
static void no_expectations(const request *r, int64_t b) {
    const potentials *p = &r->p;
    if (r->marginals) store_zeros(r->marginals, b * p->length * p->tags, p->length * p->tags, p->wide);
    if (r->counts) store_zeros(r->counts, b * pair_size(r), pair_size(r), p->wide);
}

/* log Z, marginals and counts; or, if there is a path, its score, one-hot tags and counts minus these. */
static int expectations(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags, width = r->width;
    sentence s;
    if (sweep(&s, r, b, memory)) return -1;
    double value = s.log_z;
    const int64_t *gold = r->tags ? r->tags + b * p->length : NULL;
    if (gold && (gold[0] < 0 || s.log_z == -INFINITY)) {
        value = -INFINITY;
        s.alive = 0;
        gold = NULL;
    }
    double *counts = arena_take(memory, tags * width), *scratch = arena_take(memory, tags * width), *row;
    if (!counts || !scratch || !(row = arena_take(memory, width))) return -1;
    if (gold) value = path_score(p, b, gold) - s.log_z;
    double sign = gold ? -1 : 1;
    store(r->value, b, &value, 1, p->wide);
    if (!s.alive) {
        no_expectations(r, b);
        return 0;
    }
    if (r->marginals) {
        int64_t at = b * p->length * tags;
        for (int64_t t = 0; t < s.n; t++) {
            for (int64_t j = 0; j < width; j += LANES)
                *(vec *)(row + j) = sign * *(vec *)(s.alpha + t * width + j) * *(vec *)(s.beta + t * width + j);
            store(r->marginals, at + t * tags, row, tags, p->wide);
            if (gold) { /* not in the row: reading a vector just behind a smaller write to it is slow */
                double q = s.alpha[t * width + gold[t]] * s.beta[t * width + gold[t]];
                put(r->marginals, at + t * tags + gold[t], 1 - q, p->wide);
            }
        }
        store_zeros(r->marginals, at + s.n * tags, (p->length - s.n) * tags, p->wide);
    }
    if (r->counts && r->edges) {
        int64_t at = b * pair_size(r), size = tags * tags;
        for (int64_t t = 0; t + 1 < s.n; t++) {
            edge(counts, &s, t, s.alpha, s.arrive);
            for (int64_t i = 0; gold && i < tags * width; i += LANES) *(vec *)(counts + i) *= sign;
            if (gold) counts[gold[t] * width + gold[t + 1]] += 1;
            store_matrix(r->counts, at + t * size, counts, tags, width, p->wide);
        }
        store_zeros(r->counts, at + (s.n - 1) * size, (p->length - s.n) * size, p->wide);
    } else if (r->counts) {
        memset(counts, 0, (size_t)(tags * width) * sizeof(double));
        add_pairs(counts, scratch, &s, s.alpha, s.arrive);
        for (int64_t i = 0; gold && i < tags * width; i += LANES) *(vec *)(counts + i) *= sign;
        for (int64_t t = 0; gold && t + 1 < s.n; t++) counts[gold[t] * width + gold[t + 1]] += 1;
        store_matrix(r->counts, b * pair_size(r), counts, tags, width, p->wide);
    }
    return 0;
}

/* out = mass * out - target, for one row of targets. */
static void subtract(double *out, double mass, const void *targets, int64_t at, const request *r, double *scratch) {
    load(scratch, targets, at, r->p.tags, r->p.wide);
    fill(scratch, r->p.tags, r->width, 0);
    for (int64_t j = 0; j < r->width; j += LANES)
        *(vec *)(out + j) = mass * *(vec *)(out + j) - *(const vec *)(scratch + j);
}

/* mass * log Z minus the expected score of targets, and its derivatives: mass times the expectations, minus the
 * targets. +inf where a target is on a score of -inf, or no path is legal; the derivatives are then those of the score. */
static int match(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags, width = r->width, at_unary = b * p->length * tags, at_pairs = b * tags * tags;
    sentence s;
    if (sweep(&s, r, b, memory)) return -1;
    double *counts = arena_take(memory, tags * width), *scratch = arena_take(memory, tags * width);
    double *row = arena_take(memory, width), *target = arena_take(memory, width);
    if (!counts || !scratch || !row || !target) return -1;
    double mass = at(r->mass, b, p->wide), score = expected_score(p, b, r->unary, r->pairs, 0);
    double value = (mass == 0 ? 0 : mass * s.log_z) - score;
    if (score == -INFINITY || (mass != 0 && s.log_z == -INFINITY)) value = INFINITY;
    store(r->value, b, &value, 1, p->wide);
    for (int64_t t = 0; t < s.n; t++) {
        if (s.alive)
            for (int64_t j = 0; j < width; j += LANES)
                *(vec *)(row + j) = *(vec *)(s.alpha + t * width + j) * *(vec *)(s.beta + t * width + j);
        else
            fill(row, 0, width, 0);
        subtract(row, mass, r->unary, at_unary + t * tags, r, target);
        store(r->marginals, at_unary + t * tags, row, tags, p->wide);
    }
    store_zeros(r->marginals, at_unary + s.n * tags, (p->length - s.n) * tags, p->wide);
    memset(counts, 0, (size_t)(tags * width) * sizeof(double));
    if (s.alive) add_pairs(counts, scratch, &s, s.alpha, s.arrive);
    for (int64_t i = 0; i < tags; i++) subtract(counts + i * width, mass, r->pairs, at_pairs + i * tags, r, target);
    store_matrix(r->counts, at_pairs, counts, tags, width, p->wide);
    return 0;
}

/* The direction of the transitions of one pair of steps, as rows or as columns, times the step's matrix. */
static void pull_matrix(double *out, const sentence *s, const double *pairs, int64_t t, int transposed) {
    for (int64_t i = 0; i < s->tags; i++)
        for (int64_t j = 0; j < s->width; j += LANES) {
            vec along = {0};
            if (transposed)
                for (int64_t l = 0; l < LANES && j + l < s->tags; l++) along[l] = pairs[(j + l) * s->width + i];
            else
                along = *(const vec *)(pairs + i * s->width + j);
            const double *m = (transposed ? back_from(s, t) : step_from(s, t)) + i * s->width + j;
            *(vec *)(out + i * s->width + j) = along * *(const vec *)m;
        }
}

static void load_pairs(double *out, const request *r, int64_t b, int64_t t) {
    int64_t tags = r->p.tags, at = b * tags * tags;
    if (r->pairs_by_position) at = (b * (r->p.length - 1) + t) * tags * tags;
    for (int64_t i = 0; i < tags; i++) {
        load(out + i * r->width, r->pairs, at + i * tags, tags, r->p.wide);
        fill(out + i * r->width, tags, r->width, 0);
    }
}

/* What is carried along with alpha, beta and arrive: their derivatives in the direction (unary, pairs). */
typedef struct {
    double *alpha, *beta, *arrive; /* [n, width] */
    double *unary; /* [n, width] the direction of the emissions, centred */
    double *pairs, *pull; /* [tags, width] the direction of the transitions, and times the matrix of a step */
} dual;

/* Where the direction of the transitions enters: alpha_t-1 (M * pairs) into d->alpha, (M * pairs) arrive_t+1 into
 * d->beta; zeros without one. */
static void pull_all(dual *d, const sentence *s, const request *r, int64_t b, int once) {
    int64_t n = s->n, width = s->width;
    if (!r->pairs) {
        fill(d->alpha, 0, n * width, 0);
        fill(d->beta, 0, n * width, 0);
        return;
    }
    load_pairs(d->pairs, r, b, 0);
    fill(d->alpha, 0, width, 0);
    fill(d->beta, (n - 1) * width, n * width, 0);
    for (int transposed = 0; transposed < 2; transposed++)
        for (int64_t t = 0; t + 1 < n; t++) {
            if (r->pairs_by_position) load_pairs(d->pairs, r, b, t);
            if (t == 0 || !once) pull_matrix(d->pull, s, d->pairs, t, transposed);
            if (transposed)
                product(d->beta + t * width, s->arrive + (t + 1) * width, d->pull, NULL, s->tags, width);
            else
                product(d->alpha + (t + 1) * width, s->alpha + t * width, d->pull, NULL, s->tags, width);
        }
}

/* Takes its expectation from the direction, step by step: no derivative changes, and the sums that are carried along
 * stay as short as the correlations of the chain. */
static void centre(dual *d, const sentence *s, const request *r, int64_t b) {
    int64_t width = s->width;
    if (!r->unary) fill(d->unary, 0, s->n * width, 0);
    for (int64_t t = 0; r->unary && t < s->n; t++) {
        load(d->unary + t * width, r->unary, (b * r->p.length + t) * s->tags, s->tags, r->p.wide);
        fill(d->unary, t * width + s->tags, (t + 1) * width, 0);
    }
    for (int64_t t = 0; t < s->n; t++) {
        double *u = d->unary + t * width;
        const double *alpha = s->alpha + t * width, *beta = s->beta + t * width;
        vec total = {0};
        for (int64_t j = 0; j < width; j += LANES)
            total += *(vec *)(u + j) * *(const vec *)(alpha + j) * *(const vec *)(beta + j)
                + *(vec *)(d->alpha + t * width + j) * *(vec *)(s->arrive + t * width + j);
        double mean = sum_of(total);
        for (int64_t j = 0; j < width; j += LANES) *(vec *)(u + j) -= mean;
    }
}

INLINE void dual_alpha_step(dual *d, const sentence *s, int64_t t, double *scratch) {
    int64_t width = s->width;
    double *da = d->alpha + t * width;
    if (t > 0) product(scratch, da - width, step_from(s, t - 1), NULL, s->tags, width);
    for (int64_t j = 0; j < width; j += LANES) {
        vec from = *(vec *)(da + j);
        if (t > 0) from += *(vec *)(scratch + j);
        *(vec *)(da + j) = *(vec *)(s->weights + t * width + j) * from
            + *(vec *)(d->unary + t * width + j) * *(vec *)(s->alpha + t * width + j);
    }
}

INLINE void dual_beta_step(dual *d, const sentence *s, int64_t t, double *scratch) {
    int64_t width = s->width;
    double *db = d->beta + t * width, *dv = d->arrive + t * width;
    if (t + 1 < s->n) product(scratch, dv + width, back_from(s, t), NULL, s->tags, width);
    for (int64_t j = 0; j < width; j += LANES) {
        if (t + 1 < s->n) *(vec *)(db + j) += *(vec *)(scratch + j);
        *(vec *)(dv + j) = *(vec *)(s->weights + t * width + j) * *(vec *)(db + j)
            + *(vec *)(d->unary + t * width + j) * *(vec *)(s->arrive + t * width + j);
    }
}

/* The derivatives of the counts, from those of alpha and arrive. */
static void dual_pairs(dual *d, const sentence *s, const request *r, int64_t b, double *counts, double *scratch,
                       double *other) {
    int64_t tags = s->tags, width = s->width, size = tags * width, at = b * pair_size(r);
    memset(counts, 0, (size_t)size * sizeof(double));
    if (!r->edges && !r->pairs_by_position) {
        if (r->pairs) {
            add_pairs(counts, scratch, s, s->alpha, s->arrive);
            for (int64_t i = 0; i < size; i += LANES) *(vec *)(counts + i) *= *(vec *)(d->pairs + i);
        }
        add_pairs(counts, scratch, s, d->alpha, s->arrive);
        add_pairs(counts, scratch, s, s->alpha, d->arrive);
        store_matrix(r->counts, at, counts, tags, width, r->p.wide);
        return;
    }
    for (int64_t t = 0; t + 1 < s->n; t++) {
        if (r->pairs_by_position) load_pairs(d->pairs, r, b, t);
        if (r->edges) memset(counts, 0, (size_t)size * sizeof(double));
        edge(scratch, s, t, d->alpha, s->arrive);
        edge(other, s, t, s->alpha, d->arrive);
        edge(d->pull, s, t, s->alpha, s->arrive);
        for (int64_t i = 0; i < size; i += LANES) {
            *(vec *)(counts + i) += *(vec *)(scratch + i) + *(vec *)(other + i);
            if (r->pairs) *(vec *)(counts + i) += *(vec *)(d->pairs + i) * *(vec *)(d->pull + i);
        }
        if (r->edges) store_matrix(r->counts, at + t * tags * tags, counts, tags, width, r->p.wide);
    }
    if (r->edges)
        store_zeros(r->counts, at + (s->n - 1) * tags * tags, (r->p.length - s->n) * tags * tags, r->p.wide);
    else
        store_matrix(r->counts, at, counts, tags, width, r->p.wide);
}

/* The derivative of the expectations along (unary, pairs), with dual numbers. */
static int directional(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags, width = r->width, size = tags * width;
    sentence s;
    if (sweep(&s, r, b, memory)) return -1;
    if (!s.alive) {
        no_expectations(r, b);
        return 0;
    }
    int64_t n = s.n, rows = n * width;
    dual d = {.alpha = arena_take(memory, rows), .beta = arena_take(memory, rows), .arrive = arena_take(memory, rows),
              .unary = arena_take(memory, rows), .pairs = arena_take(memory, size), .pull = arena_take(memory, size)};
    double *counts = arena_take(memory, size), *scratch = arena_take(memory, size), *other = arena_take(memory, size);
    if (!d.alpha || !d.beta || !d.arrive || !d.unary || !d.pairs || !d.pull || !counts || !scratch || !other) return -1;
    pull_all(&d, &s, r, b, s.stride == 0 && !r->pairs_by_position);
    centre(&d, &s, r, b);
    for (int64_t t = 0; t < n; t++) {
        dual_alpha_step(&d, &s, t, scratch);
        if (fit_together(&s)) dual_beta_step(&d, &s, n - 1 - t, other);
    }
    for (int64_t t = n - 1; !fit_together(&s) && t >= 0; t--) dual_beta_step(&d, &s, t, other);
    int64_t at = b * p->length * tags;
    for (int64_t t = 0; t < n; t++) {
        for (int64_t j = t * width, l = 0; l < width; j += LANES, l += LANES)
            *(vec *)(scratch + l) = *(vec *)(d.alpha + j) * *(vec *)(s.beta + j)
                + *(vec *)(s.alpha + j) * *(vec *)(d.beta + j);
        store(r->marginals, at + t * tags, scratch, tags, p->wide);
    }
    store_zeros(r->marginals, at + n * tags, (p->length - n) * tags, p->wide);
    if (r->counts) dual_pairs(&d, &s, r, b, counts, scratch, other);
    return 0;
}

/* k samples by inverting the distribution function, tag by tag from p(y_t+1 | y_t). */
static int sample(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags, width = r->width;
    sentence s;
    if (sweep(&s, r, b, memory)) return -1;
    double *mass = arena_take(memory, width);
    if (!mass) return -1;
    for (int64_t k = 0; k < r->k; k++) {
        int64_t at = (b * r->k + k) * p->length, *path = r->paths + at;
        for (int64_t t = 0; t < p->length; t++) {
            if (t >= s.n || !s.alive) {
                path[t] = -1;
                continue;
            }
            const double *onward = t ? s.arrive + t * width : s.beta;
            const double *reach = t ? step_from(&s, t - 1) + path[t - 1] * width : s.alpha;
            double total = 0, passed = 0;
            for (int64_t c = 0; c < tags; c++) total += mass[c] = reach[c] * onward[c];
            double target = r->uniforms[at + t] * total;
            int64_t chosen = -1;
            for (int64_t c = 0; c < tags && (chosen < 0 || passed <= target); c++) {
                passed += mass[c];
                if (mass[c] > 0) chosen = c;
            }
            path[t] = chosen;
        }
    }
    return 0;
}
