/* The forward-backward pass over LANES sentences at once, one in every lane.
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
