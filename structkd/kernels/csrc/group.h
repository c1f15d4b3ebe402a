/* First and second derivatives of log Z for LANES sentences at once, one in every lane.
 *
 * Where tags fill the lanes (sweep.h), rows are padded, every number of a step is spread over a vector for the next, and
 * sums go across lanes. None of that is needed here, as long as there are sentences enough that share all but their
 * emissions. Backward comes after forward, so beta starts with 1 / Z and needs no scale of its own. A sentence that
 * float64 is not wide enough for is left to the operations on single sentences.
 */

typedef struct {
    int64_t count, n, shortest, tags; /* sentences; steps of the longest and of the shortest one */
    int64_t b[LANES], lengths[LANES];
    unsigned sound; /* bit l: lane l holds a sentence, and float64 is wide enough for it */
    vec *weights, *alpha; /* [n, tags], as in sweep.h; zeros behind the end of a sentence */
    vec z; /* sum_c alpha end at the last step */
    double log_z[LANES];
    const double *step, *back; /* [tags, width] shared matrices */
    int64_t width;
} group;

enum { STEPS = 8 }; /* that come and go together */

/* What a sentence has of the steps [from, to). */
INLINE int64_t share(const group *g, int l, int64_t from, int64_t to) {
    int64_t end = g->lengths[l] < to ? g->lengths[l] : to;
    return end > from ? end - from : 0;
}

/* Rows [from, to) of [B, T, tags], a sentence to a lane; `rest` behind the end of a sentence. Tags are contiguous. */
static void gather(vec *out, const group *g, const void *in, int64_t stride_b, int64_t stride_t, int64_t from,
                   int64_t to, double rest, int64_t wide) {
    int64_t steps = stride_t == g->tags ? to - from : 1, size = steps * g->tags; /* contiguous numbers */
    for (int64_t t = from; t < to; t += steps, out += size)
        for (int64_t i = 0; i < size; i += LANES) {
            vec block[LANES];
            for (int l = 0; l < LANES; l++)
                block[l] = load_part(in, g->b[l] * stride_b + t * stride_t + i,
                                     share(g, l, t, t + steps) * g->tags - i, rest, wide);
            transpose(block);
            for (int64_t k = 0; k < LANES && i + k < size; k++) out[i + k] = block[k];
        }
}

/* The first sizes[l] of the numbers [size] of every lane to its place in an array of the caller's, less what stands at
 * the same place in another one, if it is not NULL. */
static void scatter(void *out, const void *less, const int64_t *places, const vec *in, int64_t size,
                    const int64_t *sizes, int64_t wide) {
    for (int64_t i = 0; i < size; i += LANES) {
        vec block[LANES];
        for (int64_t k = 0; k < LANES; k++) block[k] = i + k < size ? in[i + k] : (vec){0};
        transpose(block);
        for (int l = 0; l < LANES; l++) {
            int64_t left = sizes[l] - i;
            if (less && left > 0) block[l] -= load_part(less, places[l] + i, left, 0, wide);
            store_part(out, places[l] + i, block[l], left, wide);
        }
    }
}

/* weights = exp(emissions - max), the maxima taken over each step; their sum over steps is added to shift. */
static void lane_weights(group *g, const request *r, vec *shift) {
    const potentials *p = &r->p;
    for (int64_t from = 0; from < g->n; from += STEPS) {
        int64_t to = from + STEPS < g->n ? from + STEPS : g->n;
        gather(g->weights + from * g->tags, g, p->emissions, p->emissions_b, p->emissions_t, from, to, -INFINITY, p->wide);
        for (int64_t t = from; t < to; t++) {
            vec *row = g->weights + t * g->tags, top = splat(-DBL_MAX);
            for (int64_t c = 0; c < g->tags; c++) top = vmax(row[c], top);
            for (int64_t c = 0; c < g->tags; c++) row[c] = vexp(row[c] - top);
            *shift += (vec)((bits)top & (bits)(top > -DBL_MAX)); /* nothing behind the end */
        }
    }
}

/* has_lost() of the sentence in a lane. */
static int lane_has_lost(const group *g, const request *r, int64_t t, int l) {
    int64_t tags = g->tags;
    const vec *alpha = g->alpha + t * tags, *weights = g->weights + t * tags, *before = alpha - tags;
    for (int64_t c = 0; c < tags; c++) {
        if (alpha[c][l] >= LEAST_ALPHA || weights[c][l] == 0) continue;
        if (t == 0 && r->start[c] > 0) return 1;
        for (int64_t i = 0; t > 0 && i < tags; i++)
            if (before[i][l] > 0 && g->step[i * g->width + c] > 0) return 1;
    }
    return 0;
}

/* The forward recursion, and log Z. */
static void lane_alpha(group *g, const request *r, vec shift) {
    int64_t tags = g->tags;
    double log_scale[LANES] = {0};
    g->z = splat(1);
    for (int64_t t = 0; t < g->n; t++) {
        vec *alpha = g->alpha + t * tags, *weights = g->weights + t * tags;
        vec sum = {0}, last = {0}, least = splat(1), factor = splat(1);
        if (t > 0)
            lane_product(alpha, alpha - tags, g->step, tags, g->width);
        else
            for (int64_t c = 0; c < tags; c++) alpha[c] = splat(r->start[c]);
        for (int64_t c = 0; c < tags; c++) {
            sum += alpha[c] *= weights[c];
            least = vmin(alpha[c], least);
        }
        unsigned running = t < g->shortest ? (1u << LANES) - 1 : 0, ending = 0;
        for (int l = 0; t >= g->shortest - 1 && l < LANES; l++) {
            running |= (unsigned)(t < g->lengths[l]) << l;
            ending |= (unsigned)(t == g->lengths[l] - 1) << l;
        }
        unsigned small = g->sound & running & ~at_least(least, splat(LEAST_ALPHA));
        for (int l = 0; small >> l; l++)
            if ((small >> l & 1) && lane_has_lost(g, r, t, l)) g->sound &= ~(1u << l);
        unsigned rescaled = g->sound & running & ~within(sum, SMALL, LARGE);
        for (int l = 0; rescaled >> l; l++) {
            if (!(rescaled >> l & 1)) continue;
            if (sum[l] > 0 && sum[l] < INFINITY) {
                factor[l] = 1 / sum[l];
                log_scale[l] += log(sum[l]);
            } else {
                g->sound &= ~(1u << l);
            }
        }
        /* The weights take part: alpha_t = weights_t (alpha_t-1 M) still holds. */
        for (int64_t c = 0; rescaled && c < tags; c++) alpha[c] *= factor, weights[c] *= factor;
        for (int64_t c = 0; ending && c < tags; c++) last += alpha[c] * r->end[c];
        for (int l = 0; ending >> l; l++)
            if (ending >> l & 1) g->z[l] = last[l];
    }
    g->sound &= within(g->z, 1e-307, 1e307);
    for (int l = 0; l < LANES; l++) g->log_z[l] = log(g->z[l]) + log_scale[l] + shift[l];
}

/* What follows step t: M next, zeros behind the last step of all. */
INLINE void lane_back(const group *g, vec *out, const vec *next, int64_t t) {
    if (t + 1 < g->n)
        lane_product(out, next, g->back, g->tags, g->width);
    else
        memset(out, 0, (size_t)g->tags * sizeof(vec));
}

/* beta_t from arrive_t+1; where a sentence ends, such that sum_c alpha_t beta_t = 1 at every step. */
INLINE void lane_beta(const group *g, const request *r, vec *beta, const vec *arrive, int64_t t) {
    lane_back(g, beta, arrive, t);
    for (int l = 0; t >= g->shortest - 1 && l < g->count; l++)
        for (int64_t c = 0; t == g->lengths[l] - 1 && c < g->tags; c++) ((double *)(beta + c))[l] = r->end[c] / g->z[l];
}

/* Whether float64 was wide enough; peak is the largest beta. */
static void lane_check(group *g, const vec *beta, vec peak) {
    vec total = {0};
    for (int64_t c = 0; c < g->tags; c++) total += g->alpha[c] * beta[c];
    g->sound &= within(total, 1 - 1e-6, 1 + 1e-6) & ~at_least(peak, splat(LARGEST_BETA));
}

static vec *take_vectors(arena *memory, int64_t vectors) {
    return (vec *)arena_take(memory, vectors * LANES);
}

/* The sentences from `first` on, in the order of their lengths. */
static group group_of(const request *r, int64_t first) {
    int64_t left = r->p.batch - first;
    group g = {.count = left < r->together ? left : r->together, .tags = r->p.tags, .width = r->width,
               .step = r->step, .back = r->back};
    for (int l = 0; l < g.count; l++) {
        g.b[l] = r->order[first + l];
        g.lengths[l] = r->p.lengths[g.b[l]];
    }
    g.n = g.lengths[0];
    g.shortest = g.lengths[g.count - 1];
    return g;
}

/* Weights and the forward recursion. None of the sentences is sound where single ones are faster. */
static int start_group(group *g, const request *r, arena *memory) {
    if (2 * g->count <= LANES) return 0;
    vec shift = splat(r->ends_lift);
    for (int l = 0; l < g->count; l++) shift[l] += r->lift * (double)(g->lengths[l] - 1);
    g->sound = (1u << g->count) - 1;
    g->weights = take_vectors(memory, g->n * g->tags);
    g->alpha = take_vectors(memory, g->n * g->tags);
    if (!g->weights || !g->alpha) return -1;
    lane_weights(g, r, &shift);
    lane_alpha(g, r, shift);
    return 0;
}

/* Rows [from, to) of marginals to the caller; of given tags their one-hot tags minus these. */
static void put_rows(const group *g, const request *r, const vec *rows, int64_t from, int64_t to) {
    const potentials *p = &r->p;
    int64_t tags = g->tags, places[LANES], sizes[LANES];
    for (int l = 0; l < LANES; l++) {
        places[l] = (g->b[l] * p->length + from) * tags;
        sizes[l] = share(g, l, from, to) * tags;
    }
    scatter(r->marginals, r->mass ? r->unary : NULL, places, rows, (to - from) * tags, sizes, p->wide);
    for (int l = 0; r->tags && l < g->count; l++)
        for (int64_t t = from; t < to && t < g->lengths[l]; t++) {
            int64_t y = r->tags[g->b[l] * p->length + t], cell = (t - from) * tags + y;
            if (y >= 0) put(r->marginals, places[l] + cell, 1 + ((const double *)(rows + cell))[l], p->wide);
        }
}

/* sums [tags, tags], times the transitions and a factor, to the caller; counts of given tags are added. */
static void put_pairs(const group *g, const request *r, vec *sums, vec factor) {
    int64_t tags = g->tags, places[LANES], sizes[LANES];
    for (int64_t i = 0; i < tags; i++)
        for (int64_t j = 0; j < tags; j++) {
            double step = g->step[i * g->width + j];
            sums[i * tags + j] *= factor * step;
            if (step == 0) sums[i * tags + j] = splat(0); /* what is forbidden may have overflowed */
        }
    for (int l = 0; l < LANES; l++) {
        const int64_t *gold = r->tags ? r->tags + g->b[l] * r->p.length : NULL;
        for (int64_t t = 0; gold && gold[0] >= 0 && t + 1 < g->lengths[l]; t++)
            ((double *)(sums + gold[t] * tags + gold[t + 1]))[l] += 1;
        places[l] = g->b[l] * tags * tags;
        sizes[l] = l < g->count ? tags * tags : 0;
    }
    scatter(r->counts, r->mass ? r->pairs : NULL, places, sums, tags * tags, sizes, r->p.wide);
}

/* The backward recursion and the marginals, times a factor; arrive takes the place of the weights.
 * rows: scratch [STEPS + 1, tags]. */
static void lane_marginals(group *g, const request *r, vec *rows, vec factor) {
    int64_t tags = g->tags;
    vec *beta = rows + STEPS * tags, peak = {0};
    for (int64_t t = g->n - 1, to = g->n; t >= 0; t--) {
        const vec *alpha = g->alpha + t * tags;
        vec *arrive = g->weights + t * tags, *row = rows + t % STEPS * tags;
        lane_beta(g, r, beta, arrive + tags, t);
        for (int64_t c = 0; c < tags; c++) {
            peak = vmax(beta[c], peak);
            row[c] = factor * (alpha[c] * beta[c]);
            arrive[c] *= beta[c];
        }
        if (t % STEPS > 0) continue;
        if (r->marginals) put_rows(g, r, rows, t, to);
        to = t;
    }
    lane_check(g, beta, peak);
}

/* One of the operations on single sentences for some of those that are taken together, or for all of them; zeros behind
 * the others. */
static int the_rest(const group *g, const request *r, operation one, arena *memory) {
    int64_t tags = r->p.tags, length = r->p.length;
    for (int l = 0; l < g->count; l++) {
        int64_t b = g->b[l], n = g->lengths[l];
        if (!(g->sound >> l & 1)) {
            if (one(r, b, memory)) return -1;
        } else if (r->marginals) {
            store_zeros(r->marginals, (b * length + n) * tags, (length - n) * tags, r->p.wide);
        }
    }
    return 0;
}

/* expectations(), or match() where there is a mass. */
static int all_expectations(const request *r, int64_t first, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags;
    operation one = r->mass ? match : expectations;
    group g = group_of(r, first);
    vec factor = splat(r->tags ? -1 : 1), *rows, *sums = NULL;
    if (start_group(&g, r, memory)) return -1;
    if (!g.sound) return the_rest(&g, r, one, memory);
    for (int l = 0; r->mass && l < g.count; l++) factor[l] = at(r->mass, g.b[l], p->wide);
    if (!(rows = take_vectors(memory, (STEPS + 1) * tags))) return -1;
    if (r->counts && !(sums = take_vectors(memory, tags * tags))) return -1;
    lane_marginals(&g, r, rows, factor); /* for log Z alone too: beta tells what alpha has lost */
    if (r->counts) {
        memset(sums, 0, (size_t)(tags * tags) * sizeof(vec));
        lane_outer(sums, g.alpha, g.weights + tags, g.n - 1, tags);
        put_pairs(&g, r, sums, factor);
    }
    for (int l = 0; l < g.count; l++) {
        int64_t b = g.b[l];
        double value = g.log_z[l];
        if (r->tags && r->tags[b * p->length] < 0)
            g.sound &= ~(1u << l); /* the other one knows what to do */
        else if (r->tags)
            value = path_score(p, b, r->tags + b * p->length) - value;
        if (r->mass) {
            double score = expected_score(p, b, r->unary, r->pairs, 0);
            value = score == -INFINITY ? INFINITY : (factor[l] == 0 ? 0 : factor[l] * value) - score;
        }
        store(r->value, b, &value, 1, p->wide);
    }
    return the_rest(&g, r, one, memory);
}

/* beta [n, tags], and the direction of the emissions centred as centre() does it. */
static void lane_centre(group *g, const request *r, vec *betas, vec *along, vec *arrive) {
    int64_t tags = g->tags;
    vec peak = {0};
    for (int64_t t = g->n - 1; t >= 0; t--) {
        const vec *weights = g->weights + t * tags, *alpha = g->alpha + t * tags;
        vec *beta = betas + t * tags, *u = along + t * tags, mean = {0};
        lane_beta(g, r, beta, arrive, t);
        for (int64_t c = 0; c < tags; c++) {
            peak = vmax(beta[c], peak);
            arrive[c] = weights[c] * beta[c];
            mean += u[c] * alpha[c] * beta[c];
        }
        for (int64_t c = 0; c < tags; c++) u[c] -= mean;
    }
    lane_check(g, betas, peak);
}

/* The derivative of alpha. */
static void lane_dual_alpha(const group *g, vec *d_alphas, const vec *along) {
    int64_t tags = g->tags;
    for (int64_t t = 0; t < g->n; t++) {
        const vec *weights = g->weights + t * tags, *alpha = g->alpha + t * tags, *u = along + t * tags;
        vec *d_alpha = d_alphas + t * tags;
        if (t > 0)
            lane_product(d_alpha, d_alpha - tags, g->step, tags, g->width);
        else
            memset(d_alpha, 0, (size_t)tags * sizeof(vec));
        for (int64_t c = 0; c < tags; c++) d_alpha[c] = weights[c] * d_alpha[c] + u[c] * alpha[c];
    }
}

/* The derivatives of the marginals, from those of alpha and beta. arrive takes the place of the weights, its derivative
 * that of the direction. rows: scratch [STEPS + 1, tags]. */
static void lane_dual_marginals(const group *g, const request *r, const vec *betas, const vec *d_alphas, vec *along,
                                vec *rows) {
    int64_t tags = g->tags;
    vec *d_beta = rows + STEPS * tags;
    for (int64_t t = g->n - 1, to = g->n; t >= 0; t--) {
        const vec *alpha = g->alpha + t * tags, *d_alpha = d_alphas + t * tags, *beta = betas + t * tags;
        vec *weights = g->weights + t * tags, *u = along + t * tags, *row = rows + t % STEPS * tags;
        lane_back(g, d_beta, u + tags, t);
        for (int64_t c = 0; c < tags; c++) {
            vec arrive = weights[c] * beta[c];
            row[c] = d_alpha[c] * beta[c] + alpha[c] * d_beta[c];
            u[c] = weights[c] * d_beta[c] + u[c] * arrive;
            weights[c] = arrive;
        }
        if (t % STEPS > 0) continue;
        put_rows(g, r, rows, t, to);
        to = t;
    }
}

/* directional(), along emissions alone. */
static int all_directional(const request *r, int64_t first, arena *memory) {
    const potentials *p = &r->p;
    int64_t tags = p->tags;
    group g = group_of(r, first);
    if (start_group(&g, r, memory)) return -1;
    if (!g.sound) return the_rest(&g, r, directional, memory);
    vec *betas = take_vectors(memory, g.n * tags), *along = take_vectors(memory, g.n * tags);
    vec *d_alphas = take_vectors(memory, g.n * tags), *rows = take_vectors(memory, (STEPS + 1) * tags);
    vec *sums = take_vectors(memory, tags * tags);
    if (!betas || !along || !d_alphas || !rows || !sums) return -1;
    gather(along, &g, r->unary, p->length * tags, tags, 0, g.n, 0, p->wide);
    lane_centre(&g, r, betas, along, rows);
    lane_dual_alpha(&g, d_alphas, along);
    lane_dual_marginals(&g, r, betas, d_alphas, along, rows);
    if (r->counts) {
        memset(sums, 0, (size_t)(tags * tags) * sizeof(vec));
        lane_outer(sums, d_alphas, g.weights + tags, g.n - 1, tags);
        lane_outer(sums, g.alpha, along + tags, g.n - 1, tags);
        put_pairs(&g, r, sums, splat(1));
    }
    return the_rest(&g, r, directional, memory);
}
