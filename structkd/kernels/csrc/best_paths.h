/* The exact k best paths: Viterbi without back pointers, then deviations (Lawler 1972; Soong and Huang 1991).
 *
 * Every path other than the best leaves it somewhere, seen from the end: it shares the tags after step t and differs
 * at t. The best path of each such set is one maximum over C numbers, because the best prefixes that end in each tag
 * are known: that is the offer of step t. A path that was taken from a set splits the rest of the set in the same way.
 * The sets are disjoint, so no path comes twice. Before a path meets the one that it left, it makes offers of its own;
 * from there on to the beginning their tags are the same, and its offers those of the other, shifted by the difference
 * of the scores.
 */

typedef struct {
    double score;
    double rest; /* the part of it behind step `at` */
    int64_t parent; /* the path it deviates from: same tags after step `at` */
    int64_t at, tag;
} candidate;

typedef struct {
    int64_t b, n, tags, width;
    double *delta; /* [n, width] score of the best prefix that ends here */
    double *reach; /* [n, tags] without the step's own emission */
    int64_t reach_t, reach_c; /* its strides */
    const double *score, *score_back; /* transitions [tags, width] and transposed, of the first pair of steps */
    int64_t stride;
    double *end;
    uint64_t *few; /* [width / 64] see best_of_few */
    int64_t *paths; /* [k, T] of this sentence */
    double best; /* the score of the best path; -inf, or NaN, where there is none */
} lattice;

/* gap[a, i] = max_j (score[i, j] - score[a, j]): how much worse than a prefix in a may one in i be, and still be the
 * best way to somewhere. Where neither is legal there is no difference that matters (NaN); the padding is never one of
 * the few. The last row is scratch. */
static void score_gaps(double *gap, const double *score, const double *score_back, int64_t tags, int64_t width) {
    double *minus = gap + tags * width;
    for (int64_t a = 0; a < tags; a++) {
        for (int64_t j = 0; j < tags; j++) minus[j] = -score[a * width + j];
        best(gap + a * width, minus, score_back, NULL, tags, width);
        fill(gap, a * width + tags, (a + 1) * width, NAN);
    }
}

/* best(), where few prefixes can be the best way to anywhere: the gaps to the best one tell which. */
INLINE void best_of_few(double *out, const double *x, const double *m, const double *gap, uint64_t *set, int64_t rows,
                        int64_t width) {
    double most = best_sum(x, NULL, NULL, -1, width);
    const double *slack = gap + first_sum(x, NULL, NULL, -1, most, rows, width) * width;
    for (int64_t j = 0; j < width; j += LANES) {
        uint64_t few = at_least(*(const vec *)(x + j) + *(const vec *)(slack + j), splat(most));
        set[j / 64] = few << j % 64 | (j % 64 ? set[j / 64] : 0);
    }
    best(out, x, m, set, rows, width);
}

static void pad_matrix(double *rows, double *columns, const request *r, int64_t at) {
    int64_t tags = r->p.tags, width = r->width;
    for (int64_t i = 0; i < tags; i++) {
        load(rows + i * width, r->p.transitions, at + i * tags, tags, r->p.wide);
        fill(rows, i * width + tags, (i + 1) * width, -INFINITY);
    }
    for (int64_t j = 0; j < tags; j++) {
        for (int64_t i = 0; i < tags; i++) columns[j * width + i] = rows[i * width + j];
        fill(columns, j * width + tags, (j + 1) * width, -INFINITY);
    }
}

/* Memory for sentence b, and its transitions. */
static int open_lattice(lattice *l, const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t n = p->lengths[b], tags = p->tags, width = r->width, size = tags * width;
    *l = (lattice){.b = b, .n = n, .tags = tags, .width = width, .score = r->score, .score_back = r->score_back,
                   .paths = r->paths + b * r->k * p->length};
    l->delta = arena_take(memory, n * width);
    l->end = arena_take(memory, width);
    if (!l->delta || !l->end) return -1;
    if (!l->score && n > 1) {
        int64_t pairs = p->transitions_t ? n - 1 : 1;
        double *rows = arena_take(memory, pairs * size), *columns = arena_take(memory, pairs * size);
        if (!rows || !columns) return -1;
        for (int64_t t = 0; t < pairs; t++)
            pad_matrix(rows + t * size, columns + t * size, r, b * p->transitions_b + t * p->transitions_t);
        l->score = rows;
        l->score_back = columns;
        l->stride = p->transitions_t ? size : 0;
    }
    load_row(l->end, p->end, b * p->end_b, tags, width, p->wide);
    return 0;
}

/* The best prefixes that end at step t. */
INLINE void prefix_step(lattice *l, const request *r, int64_t t) {
    const potentials *p = &r->p;
    int64_t width = l->width;
    double *reach = l->reach + t * width, *delta = l->delta + t * width;
    const double *score = l->score + (t - 1) * l->stride;
    if (t == 0)
        load_row(reach, p->start, l->b * p->start_b, l->tags, width, p->wide);
    else if (r->gap)
        best_of_few(reach, delta - width, score, r->gap, l->few, l->tags, width);
    else
        best(reach, delta - width, score, NULL, l->tags, width);
    load_row(delta, p->emissions, l->b * p->emissions_b + t * p->emissions_t, l->tags, width, p->wide);
    for (int64_t j = 0; j < width; j += LANES) *(vec *)(delta + j) += *(vec *)(reach + j);
}

/* The best prefixes of some sentences, step by step together: a step waits for the one before it, and meanwhile the
 * processor works on the others. */
static int prefixes(lattice *all, int64_t count, int64_t longest, const request *r, arena *memory) {
    for (int64_t g = 0; g < count; g++) {
        all[g].reach = arena_take(memory, all[g].n * r->width);
        all[g].few = (uint64_t *)arena_take(memory, (r->width + 63) / 64);
        all[g].reach_t = r->width;
        all[g].reach_c = 1;
        if (!all[g].reach || !all[g].few) return -1;
    }
    for (int64_t t = 0; t < longest; t++)
        for (int64_t g = 0; g < count; g++)
            if (t < all[g].n) prefix_step(&all[g], r, t);
    return 0;
}

#if LANES > 2
/* The best prefixes of sentences that share all but their emissions, one sentence in every lane. */
static int prefixes_in_lanes(lattice *all, const request *r, int64_t first, arena *memory) {
    const potentials *p = &r->p;
    group g = group_of(r, first);
    int64_t tags = g.tags, places[LANES] = {0}, sizes[LANES] = {0};
    vec *reaches = take_vectors(memory, g.n * tags), *deltas = take_vectors(memory, STEPS * tags);
    if (!reaches || !deltas) return -1;
    for (int l = 0; l < g.count; l++) {
        all[l].reach = (double *)reaches + l;
        all[l].reach_t = tags * LANES;
        all[l].reach_c = LANES;
    }
    const vec *before = NULL;
    for (int64_t t = 0; t < g.n; t++) {
        vec *reach = reaches + t * tags, *delta = deltas + t % STEPS * tags;
        int64_t to = t + STEPS < g.n ? t + STEPS : g.n;
        if (t > 0)
            lane_best(reach, before, r->score, tags, r->width);
        else
            for (int64_t c = 0; c < tags; c++) reach[c] = splat(at(p->start, c, p->wide));
        if (t % STEPS == 0) gather(deltas, &g, p->emissions, p->emissions_b, p->emissions_t, t, to, 0, p->wide);
        for (int64_t c = 0; c < tags; c++) delta[c] += reach[c];
        for (int l = 0; l < g.count; l++) {
            places[l] = all[l].delta + t * g.width - all[0].delta;
            sizes[l] = t < g.lengths[l] ? g.width : 0; /* with zeros behind the tags */
        }
        scatter(all[0].delta, NULL, places, delta, tags, sizes, 1);
        before = delta;
    }
    return 0;
}
#endif

/* path[t-1] of the best prefix before path[t]: the same sums again, until one is the maximum. */
INLINE void trace_step(const lattice *l, int64_t *path, int64_t t) {
    double maximum = l->reach[t * l->reach_t + path[t] * l->reach_c];
    const double *delta = l->delta + (t - 1) * l->width;
    const double *column = l->score_back + (t - 1) * l->stride + path[t] * l->width;
    path[t - 1] = first_sum(delta, column, NULL, -1, maximum, l->tags, l->width);
}

/* The score of path number `rank`, and -1 at the steps behind those that are known. */
static void write_path(const lattice *l, const request *r, int64_t rank, int64_t known, double score) {
    int64_t row = l->b * r->k + rank;
    if (r->value) store(r->value, row, &score, 1, r->p.wide);
    for (int64_t t = known; t < r->p.length; t++) l->paths[rank * r->p.length + t] = -1;
}

/* The best paths that are known or on offer: sorted, those behind the ones that were taken wait for their turn. */
typedef struct {
    candidate *found; /* [k] */
    int64_t count, k;
    double *offers; /* [k, steps] of each path, up to where it left its parent */
    int64_t steps;
    double *banned; /* [k, width] -inf for the tags that are taken at the step where a path left its parent */
} ranking;

/* The best score of a prefix that may come before path[t+1], but for path[t] and the tags that are taken; and its tag. */
INLINE double second_best(const lattice *l, const int64_t *path, const double *taken, int64_t t, int64_t *tag) {
    const double *link = t + 1 < l->n ? l->score_back + t * l->stride + path[t + 1] * l->width : l->end;
    const double *delta = l->delta + t * l->width;
    double top = best_sum(delta, link, taken, path[t], l->width);
    if (tag) *tag = first_sum(delta, link, taken, path[t], top, l->tags, l->width);
    return top;
}

/* Puts the offer of step t of path number `rank` in its place, if it is among the k best. */
INLINE void consider(ranking *best, const lattice *l, int64_t rank, const int64_t *path, const double *taken,
                     int64_t t) {
    candidate *found = best->found;
    double score = best->offers[rank * best->steps + t];
    if (!(score > -INFINITY) || (best->count == best->k && score <= found[best->k - 1].score)) return;
    candidate c = {.score = score, .parent = rank, .at = t};
    c.rest = score - second_best(l, path, taken, t, &c.tag);
    if (score > found[rank].score) c.score = found[rank].score; /* rounding */
    int64_t place = best->count < best->k ? best->count++ : best->k - 1;
    for (; place > rank + 1 && found[place - 1].score < c.score; place--) found[place] = found[place - 1];
    found[place] = c;
}

/* The offers of path number `rank`, which has the tags of its parent before step `met`. */
static void leave(ranking *best, const lattice *l, const request *r, int64_t rank, const int64_t *path, int64_t met) {
    const potentials *p = &r->p;
    candidate c = best->found[rank];
    double *offers = best->offers + rank * best->steps, rest = c.rest;
    const double *taken = best->banned + rank * l->width;
    if (met > 0) {
        const double *others = best->offers + c.parent * best->steps, shift = c.score - best->found[c.parent].score;
        for (int64_t t = 0; t < met; t += LANES) *(vec *)(offers + t) = *(const vec *)(others + t) + shift;
        for (int64_t t = 0; t < met; t += LANES) {
            double least = best->count < best->k ? -INFINITY : best->found[best->k - 1].score;
            if (!at_least(*(const vec *)(offers + t), splat(least))) continue;
            for (int64_t s = t; s < t + LANES && s < met; s++) consider(best, l, rank, path, NULL, s);
        }
    }
    for (int64_t t = c.at; t >= met; t--) {
        if (t < c.at) {
            int64_t y = path[t + 1];
            double next = t + 2 < l->n ? l->score[(t + 1) * l->stride + y * l->width + path[t + 2]] : l->end[y];
            rest += at(p->emissions, l->b * p->emissions_b + (t + 1) * p->emissions_t + y, p->wide) + next;
        }
        offers[t] = second_best(l, path, t == c.at ? taken : NULL, t, NULL) + rest;
        consider(best, l, rank, path, t == c.at ? taken : NULL, t);
    }
}

/* The tags of path number `rank`; returns the step before which they are those of its parent, from which it copies. */
static int64_t follow(const ranking *best, const lattice *l, int64_t rank, int64_t length) {
    candidate c = best->found[rank];
    int64_t *path = l->paths + rank * length, t = c.at;
    const int64_t *parent = l->paths + c.parent * length;
    double *mine = best->banned + rank * l->width;
    if (c.at == best->found[c.parent].at)
        memcpy(mine, best->banned + c.parent * l->width, (size_t)l->width * sizeof(double));
    else
        fill(mine, 0, l->width, 0);
    mine[parent[c.at]] = -INFINITY;
    memcpy(path, parent, (size_t)l->n * sizeof(int64_t));
    path[t] = c.tag;
    while (t > 0) {
        trace_step(l, path, t--);
        if (path[t] == parent[t]) return t;
    }
    return 0;
}

/* Ranks 1 to k-1, after the best path. */
static int other_paths(const lattice *l, const request *r, arena *memory) {
    int64_t k = r->k, length = r->p.length, steps = (l->n + LANES - 1) / LANES * LANES;
    ranking best = {.k = k, .count = l->best > -INFINITY, .steps = steps};
    best.banned = arena_take(memory, k * l->width);
    best.offers = arena_take(memory, k * steps);
    best.found = (candidate *)arena_take(memory, k * (int64_t)(sizeof(candidate) / sizeof(double)));
    if (!best.banned || !best.offers || !best.found) return -1;
    fill(best.banned, 0, l->width, 0);
    best.found[0] = (candidate){.score = l->best, .parent = -1, .at = l->n - 1};
    for (int64_t rank = 0, met = 0; rank < k; rank++) {
        int there = rank < best.count;
        if (rank > 0) write_path(l, r, rank, there ? l->n : 0, there ? best.found[rank].score : -INFINITY);
        if (!there) continue;
        if (rank > 0) met = follow(&best, l, rank, length);
        if (rank + 1 < k) leave(&best, l, r, rank, l->paths + rank * length, met);
    }
    return 0;
}

/* The k best paths of some sentences. */
static int topk(const request *r, int64_t first, arena *memory) {
    lattice all[TOGETHER];
    int64_t longest = 0, left = r->p.batch - first, count = left < r->together ? left : r->together;
    for (int64_t g = 0; g < count; g++) {
        if (open_lattice(&all[g], r, r->order ? r->order[first + g] : first + g, memory)) return -1;
        if (all[g].n > longest) longest = all[g].n;
    }
#if LANES > 2
    if (r->order && 2 * count > LANES ? prefixes_in_lanes(all, r, first, memory)
                                      : prefixes(all, count, longest, r, memory))
        return -1;
#else
    if (prefixes(all, count, longest, r, memory)) return -1;
#endif
    for (int64_t g = 0; g < count; g++) {
        lattice *l = &all[g];
        const double *last = l->delta + (l->n - 1) * l->width;
        l->best = best_sum(last, l->end, NULL, -1, l->width);
        int64_t known = l->best > -INFINITY ? l->n : 0;
        write_path(l, r, 0, known, known ? l->best : -INFINITY);
        if (known) l->paths[known - 1] = first_sum(last, l->end, NULL, -1, l->best, l->tags, l->width);
    }
    for (int64_t t = longest - 1; t > 0; t--)
        for (int64_t g = 0; g < count; g++)
            if (t < all[g].n && all[g].best > -INFINITY) trace_step(&all[g], all[g].paths, t);
    for (int64_t g = 0; g < count && r->k > 1; g++)
        if (other_paths(&all[g], r, memory)) return -1;
    return 0;
}
