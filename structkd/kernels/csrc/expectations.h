/* First and second derivatives of log Z: expectations, and their derivative along a direction. */

/* sums [tags, width] += sum_t left_t[i] M_t[i, j] right_t+1[j] */
static void add_pairs(double *sums, double *scratch, const sentence *s, const double *left, const double *right) {
    int64_t tags = s->tags, width = s->width;
    if (s->n < 2) return;
    if (s->stride == 0) {
        memset(scratch, 0, (size_t)(tags * width) * sizeof(double));
        outer(scratch, left, right + width, s->n - 1, tags, width);
        for (int64_t i = 0; i < tags * width; i += LANES)
            *(vec *)(sums + i) += *(vec *)(scratch + i) * *(const vec *)(s->step + i);
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
            if (gold) row[gold[t]] += 1;
            store(r->marginals, at + t * tags, row, tags, p->wide);
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

/* The derivative of the expectations along (unary, pairs): dual numbers. Beside alpha and arrive their derivatives
 * d_alpha and d_arrive are carried along. The direction is centred at every step by its expectation, which changes no
 * derivative and keeps the sums as short as the correlations of the chain. */
static int directional(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags, width = r->width, size = tags * width;
    sentence s;
    if (sweep(&s, r, b, memory)) return -1;
    if (!s.alive) {
        no_expectations(r, b);
        return 0;
    }
    double *d_alpha = arena_take(memory, s.n * width), *d_arrive = arena_take(memory, s.n * width);
    double *u = arena_take(memory, s.n * width), *d_beta = arena_take(memory, width), *pulled = arena_take(memory, width);
    double *pairs = arena_take(memory, size), *pull = arena_take(memory, size), *pull_back = arena_take(memory, size);
    double *counts = arena_take(memory, size), *scratch = arena_take(memory, size);
    if (!d_alpha || !d_arrive || !u || !d_beta || !pulled || !pairs || !pull || !pull_back || !counts || !scratch)
        return -1;
    int once = s.stride == 0 && !r->pairs_by_position; /* one matrix of the direction does for all steps */
    if (r->pairs) load_pairs(pairs, r, b, 0);
    if (r->pairs && once && s.n > 1) {
        pull_matrix(pull, &s, pairs, 0, 0);
        pull_matrix(pull_back, &s, pairs, 0, 1);
    }
    fill(pulled, 0, width, 0);
    for (int64_t t = 0; t < s.n; t++) {
        const double *alpha = s.alpha + t * width, *beta = s.beta + t * width, *weights = s.weights + t * width;
        double *row = u + t * width, *d = d_alpha + t * width, mean = 0;
        if (r->unary) {
            load(row, r->unary, (b * p->length + t) * tags, tags, p->wide);
            fill(row, tags, width, 0);
        } else {
            fill(row, 0, width, 0);
        }
        if (t > 0) {
            product(d, d - width, step_from(&s, t - 1), NULL, tags, width);
            if (r->pairs) {
                if (!once) {
                    if (r->pairs_by_position) load_pairs(pairs, r, b, t - 1);
                    pull_matrix(pull, &s, pairs, t - 1, 0);
                }
                product(pulled, alpha - width, pull, NULL, tags, width);
            }
        } else {
            fill(d, 0, width, 0);
        }
        vec total = {0};
        for (int64_t j = 0; j < width; j += LANES)
            total += *(vec *)(row + j) * *(vec *)(alpha + j) * *(vec *)(beta + j)
                + *(vec *)(pulled + j) * *(vec *)(s.arrive + t * width + j);
        mean = sum_of(total);
        for (int64_t j = 0; j < width; j += LANES) {
            *(vec *)(row + j) -= mean;
            *(vec *)(d + j) = *(vec *)(weights + j) * (*(vec *)(d + j) + *(vec *)(pulled + j))
                + *(vec *)(row + j) * *(vec *)(alpha + j);
        }
    }
    double *row = scratch; /* at least one row long */
    int64_t at = b * p->length * tags;
    fill(d_beta, 0, width, 0);
    for (int64_t t = s.n - 1; t >= 0; t--) {
        const double *alpha = s.alpha + t * width, *beta = s.beta + t * width, *weights = s.weights + t * width;
        if (t < s.n - 1) {
            product(d_beta, d_arrive + (t + 1) * width, back_from(&s, t), NULL, tags, width);
            if (r->pairs) {
                if (!once) {
                    if (r->pairs_by_position) load_pairs(pairs, r, b, t);
                    pull_matrix(pull_back, &s, pairs, t, 1);
                }
                product(pulled, s.arrive + (t + 1) * width, pull_back, NULL, tags, width);
                for (int64_t j = 0; j < width; j += LANES) *(vec *)(d_beta + j) += *(vec *)(pulled + j);
            }
        }
        for (int64_t j = 0; j < width; j += LANES) {
            vec d = *(vec *)(d_beta + j), a = *(const vec *)(alpha + j), be = *(const vec *)(beta + j);
            *(vec *)(d_arrive + t * width + j) =
                *(vec *)(weights + j) * d + *(vec *)(u + t * width + j) * *(vec *)(s.arrive + t * width + j);
            *(vec *)(row + j) = *(vec *)(d_alpha + t * width + j) * be + a * d;
        }
        store(r->marginals, at + t * tags, row, tags, p->wide);
    }
    store_zeros(r->marginals, at + s.n * tags, (p->length - s.n) * tags, p->wide);

    memset(counts, 0, (size_t)size * sizeof(double));
    if (once && !r->edges) {
        if (r->pairs) {
            add_pairs(counts, scratch, &s, s.alpha, s.arrive);
            for (int64_t i = 0; i < size; i += LANES) *(vec *)(counts + i) *= *(vec *)(pairs + i);
        }
        add_pairs(counts, scratch, &s, d_alpha, s.arrive);
        add_pairs(counts, scratch, &s, s.alpha, d_arrive);
        store_matrix(r->counts, b * pair_size(r), counts, tags, width, p->wide);
        return 0;
    }
    at = b * pair_size(r);
    for (int64_t t = 0; t + 1 < s.n; t++) {
        if (r->pairs_by_position) load_pairs(pairs, r, b, t);
        if (r->edges) memset(counts, 0, (size_t)size * sizeof(double));
        edge(scratch, &s, t, d_alpha, s.arrive);
        edge(pull, &s, t, s.alpha, d_arrive);
        edge(pull_back, &s, t, s.alpha, s.arrive);
        for (int64_t i = 0; i < size; i += LANES) {
            *(vec *)(counts + i) += *(vec *)(scratch + i) + *(vec *)(pull + i);
            if (r->pairs) *(vec *)(counts + i) += *(vec *)(pairs + i) * *(vec *)(pull_back + i);
        }
        if (r->edges) store_matrix(r->counts, at + t * tags * tags, counts, tags, width, p->wide);
    }
    if (r->edges)
        store_zeros(r->counts, at + (s.n - 1) * tags * tags, (p->length - s.n) * tags * tags, p->wide);
    else
        store_matrix(r->counts, at, counts, tags, width, p->wide);
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
