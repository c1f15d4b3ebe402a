/* The exact k best paths: Viterbi without back pointers, then deviations (Lawler 1972; Soong and Huang 1991).
 *
 * Every path other than the best leaves it somewhere, seen from the end: it shares the tags after step t and differs
 * at t. The best path of each such set is one maximum over C numbers, because the best prefixes that end in each tag
 * are known. A path that was taken from a set splits the rest of the set in the same way. The sets are disjoint, so
 * no path comes twice.
 */

typedef struct {
    double score;
    int64_t parent; /* the path it deviates from: same tags after step `at` */
    int64_t at, tag;
} candidate;

typedef struct {
    int64_t n, tags, width;
    double *reach; /* [n, width] score of the best prefix that ends here, without the step's own emission */
    double *delta; /* [n, width] with it */
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
    *l = (lattice){.n = n, .tags = tags, .width = width, .score = r->score, .score_back = r->score_back,
                   .paths = r->paths + b * r->k * p->length};
    l->reach = arena_take(memory, n * width);
    l->delta = arena_take(memory, n * width);
    l->end = arena_take(memory, width);
    l->few = (uint64_t *)arena_take(memory, (width + 63) / 64);
    if (!l->reach || !l->delta || !l->end || !l->few) return -1;
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
    load_row(l->reach, p->start, b * p->start_b, tags, width, p->wide);
    load_row(l->end, p->end, b * p->end_b, tags, width, p->wide);
    return 0;
}

/* The best prefixes that end at step t of sentence b. */
INLINE void prefix_step(lattice *l, const request *r, int64_t b, int64_t t) {
    const potentials *p = &r->p;
    int64_t width = l->width;
    double *reach = l->reach + t * width, *delta = l->delta + t * width;
    const double *score = l->score + (t - 1) * l->stride;
    if (t > 0 && r->gap)
        best_of_few(reach, delta - width, score, r->gap, l->few, l->tags, width);
    else if (t > 0)
        best(reach, delta - width, score, NULL, l->tags, width);
    load_row(delta, p->emissions, b * p->emissions_b + t * p->emissions_t, l->tags, width, p->wide);
    for (int64_t j = 0; j < width; j += LANES) *(vec *)(delta + j) += *(vec *)(reach + j);
}

/* path[t-1] of the best prefix before path[t]: the same sums again, until one is the maximum. */
INLINE void trace_step(const lattice *l, int64_t *path, int64_t t) {
    double maximum = l->reach[t * l->width + path[t]];
    const double *delta = l->delta + (t - 1) * l->width;
    const double *column = l->score_back + (t - 1) * l->stride + path[t] * l->width;
    path[t - 1] = first_sum(delta, column, NULL, -1, maximum, l->tags, l->width);
}

/* The score of path number `rank`, and -1 at the steps behind those that are known. */
static void write_path(const request *r, int64_t b, int64_t rank, int64_t known, double score) {
    int64_t row = b * r->k + rank;
    if (r->value) store(r->value, row, &score, 1, r->p.wide);
    for (int64_t t = known; t < r->p.length; t++) r->paths[row * r->p.length + t] = -1;
}

/* Offers the best member of every set that splits off from path number `rank`. found[0..count) is sorted; entries
 * behind `rank` wait for their turn, and no more than k are ever kept. Returns the new count. */
static int64_t deviate(const lattice *l, const request *r, int64_t b, candidate *found, int64_t count, int64_t rank,
                       const int64_t *path, const double *banned) {
    const potentials *p = &r->p;
    int64_t k = r->k;
    double rest = 0;
    for (int64_t t = l->n - 1; t >= 0; t--) {
        const double *link = l->end;
        if (t < l->n - 1) {
            const double *after = t + 2 < l->n ? l->score + (t + 1) * l->stride + path[t + 1] * l->width : NULL;
            int64_t emission = b * p->emissions_b + (t + 1) * p->emissions_t + path[t + 1];
            rest += at(p->emissions, emission, p->wide) + (after ? after[path[t + 2]] : l->end[path[t + 1]]);
            link = l->score_back + t * l->stride + path[t + 1] * l->width;
        }
        if (t > found[rank].at) continue;
        const double *delta = l->delta + t * l->width;
        const double *taken = t == found[rank].at ? banned : NULL; /* here by earlier paths too */
        double top = best_sum(delta, link, taken, path[t], l->width), score = top + rest;
        if (score > found[rank].score) score = found[rank].score; /* rounding */
        if (top > -INFINITY && (count < k || score > found[count - 1].score)) {
            int64_t i = first_sum(delta, link, taken, path[t], top, l->tags, l->width);
            int64_t place = count < k ? count++ : count - 1;
            for (; place > rank + 1 && found[place - 1].score < score; place--) found[place] = found[place - 1];
            found[place] = (candidate){.score = score, .parent = rank, .at = t, .tag = i};
        }
    }
    return count;
}

/* Ranks 1 to k-1, after the best path of sentence b. */
static int other_paths(const lattice *l, const request *r, int64_t b, arena *memory) {
    int64_t width = l->width, k = r->k, length = r->p.length, count = l->best > -INFINITY;
    double *banned = arena_take(memory, k * width);
    candidate *found = (candidate *)arena_take(memory, k * (int64_t)(sizeof(candidate) / sizeof(double)));
    if (!banned || !found) return -1;
    fill(banned, 0, width, 0);
    found[0] = (candidate){.score = l->best, .parent = -1, .at = l->n - 1, .tag = l->paths[l->n - 1]};
    for (int64_t rank = 1; rank < k; rank++) {
        const int64_t *last = l->paths + (rank - 1) * length;
        if (rank <= count) count = deviate(l, r, b, found, count, rank - 1, last, banned + (rank - 1) * width);
        write_path(r, b, rank, rank < count ? l->n : 0, rank < count ? found[rank].score : -INFINITY);
        if (rank >= count) continue;
        candidate c = found[rank];
        int64_t *path = l->paths + rank * length;
        const int64_t *parent = l->paths + c.parent * length;
        double *mine = banned + rank * width;
        for (int64_t t = c.at + 1; t < l->n; t++) path[t] = parent[t];
        if (c.at == found[c.parent].at)
            memcpy(mine, banned + c.parent * width, (size_t)width * sizeof(double));
        else
            fill(mine, 0, width, 0);
        mine[parent[c.at]] = -INFINITY;
        path[c.at] = c.tag;
        for (int64_t t = c.at; t > 0; t--) trace_step(l, path, t);
    }
    return 0;
}

/* The k best paths of some sentences, step by step together: a step waits for the one before it, and meanwhile the
 * processor works on the others. */
static int topk(const request *r, int64_t first, arena *memory) {
    lattice all[TOGETHER];
    int64_t longest = 0, left = r->p.batch - first, count = left < r->together ? left : r->together;
    for (int64_t g = 0; g < count; g++) {
        if (open_lattice(&all[g], r, first + g, memory)) return -1;
        if (all[g].n > longest) longest = all[g].n;
    }
    for (int64_t t = 0; t < longest; t++)
        for (int64_t g = 0; g < count; g++)
            if (t < all[g].n) prefix_step(&all[g], r, first + g, t);
    for (int64_t g = 0; g < count; g++) {
        lattice *l = &all[g];
        const double *last = l->delta + (l->n - 1) * l->width;
        l->best = best_sum(last, l->end, NULL, -1, l->width);
        int64_t known = l->best > -INFINITY ? l->n : 0;
        write_path(r, first + g, 0, known, l->best > -INFINITY ? l->best : -INFINITY);
        if (known) l->paths[known - 1] = first_sum(last, l->end, NULL, -1, l->best, l->tags, l->width);
    }
    for (int64_t t = longest - 1; t > 0; t--)
        for (int64_t g = 0; g < count; g++)
            if (t < all[g].n && all[g].best > -INFINITY) trace_step(&all[g], all[g].paths, t);
    for (int64_t g = 0; g < count && r->k > 1; g++)
        if (other_paths(&all[g], r, first + g, memory)) return -1;
    return 0;
}
