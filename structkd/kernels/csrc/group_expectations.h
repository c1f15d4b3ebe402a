/* First and second derivatives of log Z for the sentences of a group: expectations.h, with one in every lane. */

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
