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
    double *emissions; /* [n, width], the padding -inf */
    double *reach; /* [n, width] score of the best prefix that ends here, without the step's own emission */
    double *delta; /* [n, width] with it */
    const double *score, *score_back; /* transitions [tags, width] and transposed, of the first pair of steps */
    int64_t stride;
    double *end;
    const double *gap; /* NULL, or [tags, width]: see best_of_few */
    int32_t *list; /* [width] */
} lattice;

/* gap[a, i] = max_j (score[i, j] - score[a, j]): how much worse than a prefix in a may one in i be, and still be the
 * best way to somewhere. */
static void score_gaps(double *gap, const double *score, int64_t tags, int64_t width) {
    for (int64_t a = 0; a < tags; a++) {
        for (int64_t i = 0; i < width; i++) {
            vec top = splat(-INFINITY);
            for (int64_t j = 0; i < tags && j < width; j += LANES) {
                vec difference = *(const vec *)(score + i * width + j) - *(const vec *)(score + a * width + j);
                bits number = (bits)(difference == difference); /* both -inf: no difference that matters */
                top = vmax(top, (vec)((number & (bits)difference) | (~number & (bits)splat(-INFINITY))));
            }
            gap[a * width + i] = max_of(top);
        }
    }
}

/* best(), where few prefixes can be the best way to anywhere: the gaps to the best one tell which. */
INLINE void best_of_few(double *out, const double *x, const double *m, const double *gap, int32_t *list, int64_t rows,
                        int64_t width) {
    vec top = *(const vec *)x;
    for (int64_t j = LANES; j < width; j += LANES) top = vmax(top, *(const vec *)(x + j));
    double most = max_of(top);
    int64_t a = 0, count = 0;
    for (int64_t j = 0; j < width; j += LANES) {
        unsigned equal = lanes_of((bits)(*(const vec *)(x + j) == most));
        if (equal) {
            a = j + __builtin_ctz(equal);
            break;
        }
    }
    const double *slack = gap + (a < rows ? a : 0) * width;
    for (int64_t j = 0; j < width; j += LANES) {
        unsigned few = lanes_of((bits)(*(const vec *)(x + j) + *(const vec *)(slack + j) >= most));
        for (; few; few &= few - 1) list[count++] = (int32_t)(j + __builtin_ctz(few));
    }
    best(out, x, m, list, count, width);
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

/* The best prefixes of sentence b. */
static int prefixes(lattice *l, const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t n = p->lengths[b], tags = p->tags, width = r->width, size = tags * width;
    *l = (lattice){.n = n, .tags = tags, .width = width, .score = r->score, .score_back = r->score_back,
                   .gap = r->gap};
    l->emissions = arena_take(memory, n * width);
    l->reach = arena_take(memory, n * width);
    l->delta = arena_take(memory, n * width);
    l->end = arena_take(memory, width);
    l->list = (int32_t *)arena_take(memory, width);
    if (!l->emissions || !l->reach || !l->delta || !l->end || !l->list) return -1;
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
    load(l->end, p->end, b * p->end_b, tags, p->wide);
    fill(l->end, tags, width, -INFINITY);
    for (int64_t t = 0; t < n; t++) {
        double *emission = l->emissions + t * width, *reach = l->reach + t * width, *delta = l->delta + t * width;
        load(emission, p->emissions, b * p->emissions_b + t * p->emissions_t, tags, p->wide);
        fill(emission, tags, width, -INFINITY);
        if (t == 0) {
            load(reach, p->start, b * p->start_b, tags, p->wide);
            fill(reach, tags, width, -INFINITY);
        } else {
            const double *score = l->score + (t - 1) * l->stride;
            if (l->gap)
                best_of_few(reach, delta - width, score, l->gap, l->list, tags, width);
            else
                best(reach, delta - width, score, NULL, tags, width);
        }
        for (int64_t j = 0; j < width; j += LANES) *(vec *)(delta + j) = *(vec *)(reach + j) + *(vec *)(emission + j);
    }
    return 0;
}

/* Fills path[0..t-1] with the best prefix before path[t]: the same sums again, until one is the maximum. */
static void trace(const lattice *l, int64_t *path, int64_t t) {
    for (; t > 0; t--) {
        double maximum = l->reach[t * l->width + path[t]];
        const double *delta = l->delta + (t - 1) * l->width;
        const double *column = l->score_back + (t - 1) * l->stride + path[t] * l->width;
        path[t - 1] = first_sum(delta, column, NULL, maximum, l->tags, l->width);
    }
}

/* Offers the best member of every set that splits off from path number `rank`. found[0..count) is sorted; entries
 * behind `rank` wait for their turn, and no more than k are ever kept. Returns the new count. */
static int64_t deviate(const lattice *l, candidate *found, int64_t count, int64_t rank, int64_t k, const int64_t *path,
                       const double *banned, double *others) {
    double rest = 0;
    for (int64_t t = l->n - 1; t >= 0; t--) {
        const double *link = l->end;
        if (t < l->n - 1) {
            const double *after = t + 2 < l->n ? l->score + (t + 1) * l->stride + path[t + 1] * l->width : NULL;
            rest += l->emissions[(t + 1) * l->width + path[t + 1]] + (after ? after[path[t + 2]] : l->end[path[t + 1]]);
            link = l->score_back + t * l->stride + path[t + 1] * l->width;
        }
        if (t > found[rank].at) continue;
        const double *delta = l->delta + t * l->width;
        others[path[t]] = -INFINITY;
        if (t == found[rank].at) /* here the tags of earlier paths are taken too */
            for (int64_t c = 0; c < l->tags; c++) others[c] = c == path[t] ? -INFINITY : banned[c];
        double top = best_sum(delta, link, others, l->width), score = top + rest;
        if (score > found[rank].score) score = found[rank].score; /* rounding */
        if (top > -INFINITY && (count < k || score > found[count - 1].score)) {
            int64_t i = first_sum(delta, link, others, top, l->tags, l->width), place = count < k ? count++ : count - 1;
            for (; place > rank + 1 && found[place - 1].score < score; place--) found[place] = found[place - 1];
            found[place] = (candidate){.score = score, .parent = rank, .at = t, .tag = i};
        }
        if (t == found[rank].at)
            fill(others, 0, l->tags, 0);
        else
            others[path[t]] = 0;
    }
    return count;
}

static int topk(const request *r, int64_t b, arena *memory) {
    const potentials *p = &r->p;
    int64_t width = r->width, k = r->k, count = 0;
    lattice l;
    if (prefixes(&l, r, b, memory)) return -1;
    double *others = arena_take(memory, width), *banned = arena_take(memory, k * width);
    candidate *found = (candidate *)arena_take(memory, k * (int64_t)(sizeof(candidate) / sizeof(double)));
    if (!others || !banned || !found) return -1;
    fill(others, 0, width, 0);
    const double *last = l.delta + (l.n - 1) * width;
    double top = best_sum(last, l.end, NULL, width);
    if (top > -INFINITY) {
        int64_t i = first_sum(last, l.end, NULL, top, l.tags, width);
        found[count++] = (candidate){.score = top, .parent = -1, .at = l.n - 1, .tag = i};
    }
    for (int64_t rank = 0; rank < k; rank++) {
        int64_t *path = r->paths + (b * k + rank) * p->length;
        double value = rank < count ? found[rank].score : -INFINITY;
        store(r->value, b * k + rank, &value, 1, p->wide);
        int64_t known = rank < count ? l.n : 0;
        for (int64_t t = known; t < p->length; t++) path[t] = -1;
        if (rank >= count) continue;
        candidate c = found[rank];
        double *mine = banned + rank * width;
        if (rank == 0) {
            fill(mine, 0, width, 0);
        } else {
            const int64_t *parent = r->paths + (b * k + c.parent) * p->length;
            for (int64_t t = c.at + 1; t < l.n; t++) path[t] = parent[t];
            if (c.at == found[c.parent].at)
                memcpy(mine, banned + c.parent * width, (size_t)width * sizeof(double));
            else
                fill(mine, 0, width, 0);
            mine[parent[c.at]] = -INFINITY;
        }
        path[c.at] = c.tag;
        trace(&l, path, c.at);
        if (rank + 1 < k) count = deviate(&l, found, count, rank, k, path, mine, others);
    }
    return 0;
}
