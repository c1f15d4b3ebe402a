/* The entries that need a dynamic programme: choice of the instruction set, memory, threads over sentences. */
#include "structkd.h"

#include "scores.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>

/* ---- memory ---- */

/* One block that is used again by later calls (fresh pages cost more than the kernels on them), and, where it is too
 * small, extra blocks that live as long as one sentence. */
struct arena {
    char *block;
    size_t size, used;
    void *extra; /* list of further blocks; each starts with the address of the next */
    size_t wanted;
};

enum { POOL = 64, ALIGNMENT = 64 };
static const size_t KEPT = (size_t)64 << 20; /* larger blocks are given back */
/* Blocks that wait for the next call. A slot is emptied and filled in one atomic step, so a forked child cannot
 * inherit a lock. */
static _Atomic(struct arena *) pool[POOL];

double *arena_take(arena *memory, int64_t doubles) {
    size_t bytes = ((size_t)doubles * sizeof(double) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memory->wanted += bytes;
    if (memory->used + bytes <= memory->size) {
        char *piece = memory->block + memory->used;
        memory->used += bytes;
        return (double *)piece;
    }
    char *extra = aligned_alloc(ALIGNMENT, ALIGNMENT + bytes);
    if (!extra) return NULL;
    *(void **)extra = memory->extra;
    memory->extra = extra;
    return (double *)(extra + ALIGNMENT);
}

/* Ready for the next sentence, with a block large enough for one like the last. */
static void arena_clear(arena *memory) {
    while (memory->extra) {
        void *next = *(void **)memory->extra;
        free(memory->extra);
        memory->extra = next;
    }
    if (memory->wanted > memory->size) {
        char *larger = aligned_alloc(ALIGNMENT, memory->wanted);
        if (larger) {
            free(memory->block);
            memory->block = larger;
            memory->size = memory->wanted;
        }
    }
    memory->used = memory->wanted = 0;
}

static arena *arena_borrow(void) {
    for (int i = 0; i < POOL; i++) {
        arena *memory = atomic_exchange(&pool[i], NULL);
        if (memory) return memory;
    }
    return calloc(1, sizeof(arena));
}

static void arena_return(arena *memory) {
    arena_clear(memory);
    if (memory->size <= KEPT)
        for (int i = 0; i < POOL; i++) {
            arena *none = NULL;
            if (atomic_compare_exchange_strong(&pool[i], &none, memory)) return;
        }
    free(memory->block);
    free(memory);
}

/* ---- instruction sets ---- */

static const instruction_set *widest(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &structkd_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &structkd_avx2;
#endif
    return &structkd_base;
}

#if defined(__x86_64__)
/* Zen 4 does an operation on eight lanes as two on four. */
static int eight_lanes_are_two_fours(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || c != signature_AMD_ecx || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
    unsigned family = a >> 8 & 15;
    return family == 15 && family + (a >> 20 & 255) == 0x19;
}
#endif

static const instruction_set *forced; /* by tests */

static const instruction_set *instructions(int64_t tags) {
    static _Atomic(const instruction_set *) best, best_of_few;
    if (forced) return forced;
    if (!atomic_load(&best)) {
        const instruction_set *set = widest(), *narrow = set;
#if defined(__x86_64__)
        /* They do not pay where much of them is padding. */
        if (set == &structkd_avx512 && eight_lanes_are_two_fours()) narrow = &structkd_avx2;
#endif
        atomic_store(&best_of_few, narrow);
        atomic_store(&best, set);
    }
    return atomic_load(tags <= 24 ? &best_of_few : &best);
}

/* Uses the named instruction set from now on, or the best one for NULL. Returns 0 if this processor has it. */
EXPORT int structkd_force(const char *name) {
    const instruction_set *all[] = {&structkd_base,
#if defined(__x86_64__)
                                    &structkd_avx2, &structkd_avx512
#endif
    };
    forced = NULL;
    if (!name) return 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (strcmp(name, all[i]->name) == 0 && all[i]->lanes <= widest()->lanes) forced = all[i];
    return forced ? 0 : -1;
}

EXPORT const char *structkd_instructions(void) {
    return widest()->name;
}

/* ---- threads ---- */

typedef struct {
    const request *r;
    operation run;
    atomic_llong next;
    atomic_int failed;
} work;

static void *worker(void *argument) {
    work *w = argument;
    arena *memory = arena_borrow();
    if (!memory) {
        atomic_store(&w->failed, 1);
        return NULL;
    }
    for (;;) {
        int64_t b = atomic_fetch_add(&w->next, w->r->together);
        if (b >= w->r->p.batch) break;
        if (w->run(w->r, b, memory)) atomic_store(&w->failed, 1);
        arena_clear(memory);
    }
    arena_return(memory);
    return NULL;
}

/* Runs an operation on every sentence. A thread is started (some 20 us, more in a virtual machine) only for more work. */
static int for_each_sentence(request *r, int which, const instruction_set *set) {
    enum { MOST = 64, WORTH = 1000000 };
    work w = {.r = r, .run = r->together > 1 ? set->many[which] : set->one[which]};
    double steps = (double)r->p.batch * (double)r->p.length * (double)r->p.tags * (double)r->width;
    int64_t threads = steps < WORTH ? 1 : (int64_t)(steps / WORTH);
    if (threads > r->p.threads) threads = r->p.threads;
    if (threads > r->p.batch) threads = r->p.batch;
    if (threads > MOST) threads = MOST;
    if (r->together > r->p.batch / threads) r->together = r->p.batch / threads;
    pthread_t started[MOST];
    int64_t running = 0;
    while (running < threads - 1 && pthread_create(&started[running], NULL, worker, &w) == 0) running++;
    worker(&w);
    while (running > 0) pthread_join(started[--running], NULL);
    return atomic_load(&w.failed) ? OUT_OF_MEMORY : -1;
}

/* ---- entries ---- */

enum { MANY_TAGS = 24 }; /* from where it pays to find out which few prefixes matter */

static int64_t padded(int64_t tags, const instruction_set *set) {
    return (tags + set->lanes - 1) / set->lanes * set->lanes;
}

/* Whether sentences are better put into lanes, one into each, than their tags: enough of them share everything but the
 * emissions, and the arrays [length, tags, lanes] that an operation keeps fit into the second cache. */
static int fills_lanes(const potentials *p, const instruction_set *set, int which) {
    enum { SECOND_CACHE = 800 << 10 }; /* bytes */
    int64_t arrays = which == DIRECTIONAL ? 5 : 2, lanes = set->lanes;
    int alike = !p->transitions_b && !p->transitions_t && !p->start_b && !p->end_b;
    return set->many[which] && lanes > 2 && alike && p->length > 1 && 2 * p->batch > lanes
        && arrays * p->length * p->tags * lanes * (int64_t)sizeof(double) <= SECOND_CACHE;
}

/* How many doubles of state `expectations` leaves for `directional`; 0 where it is faster without. */
EXPORT int64_t structkd_state_doubles(const potentials *p) {
    const instruction_set *set = instructions(p->tags);
    return fills_lanes(p, set, DIRECTIONAL) ? 0 : p->batch * 3 * p->length * padded(p->tags, set);
}

/* Sentences, the longest first. */
static const int64_t *by_length(const potentials *p, arena *memory) {
    int64_t *order = (int64_t *)arena_take(memory, p->batch), *end = (int64_t *)arena_take(memory, p->length + 1);
    if (!order || !end) return NULL;
    memset(end, 0, (size_t)(p->length + 1) * sizeof(int64_t));
    for (int64_t b = 0; b < p->batch; b++) end[p->lengths[b]]++;
    for (int64_t n = p->length; n > 1; n--) end[n - 1] += end[n];
    for (int64_t b = p->batch - 1; b >= 0; b--) order[--end[p->lengths[b]]] = b;
    return order;
}

/* The transitions for best paths, and what many tags need beside them. */
static int share_scores(request *r, const instruction_set *set, arena *memory) {
    const potentials *p = &r->p;
    double *score = arena_take(memory, p->tags * r->width), *score_back = arena_take(memory, p->tags * r->width);
    if (!score || !score_back) return -1;
    set->pad(score, score_back, r, 0);
    r->score = score, r->score_back = score_back;
    if (r->order || p->tags < MANY_TAGS || p->batch * p->length <= 4 * p->tags) return 0;
    double *gap = arena_take(memory, (p->tags + 1) * r->width);
    if (!gap) return -1;
    set->gaps(gap, score, score_back, p->tags, r->width);
    r->gap = gap;
    return 0;
}

/* The transitions in exp space, and start and end if they are shared too. */
static int share_factors(request *r, const instruction_set *set, arena *memory) {
    const potentials *p = &r->p;
    double *step = arena_take(memory, p->tags * r->width), *back = arena_take(memory, p->tags * r->width);
    if (!step || !back) return -1;
    r->lift = set->matrix(step, back, p->transitions, 0, p->tags, r->width, p->wide);
    r->step = step, r->back = back;
    if (p->start_b || p->end_b) return 0;
    double *start = arena_take(memory, r->width), *end = arena_take(memory, r->width);
    if (!start || !end) return -1;
    r->ends_lift = set->ends(start, end, r, 0);
    r->start = start, r->end = end;
    return 0;
}

/* What all sentences share is made once: their order, transitions, ends. */
static int share(request *r, const instruction_set *set, int which, arena *memory) {
    int along_pairs = which == DIRECTIONAL && (r->pairs || !r->unary);
    if (fills_lanes(&r->p, set, which) && !r->edges && !along_pairs && !r->state) {
        r->together = set->lanes;
        if (!(r->order = by_length(&r->p, memory))) return -1;
    }
    return (which == TOPK ? share_scores : share_factors)(r, set, memory);
}

static int64_t run(request *r, int which) {
    const potentials *p = &r->p;
    const instruction_set *set = instructions(p->tags);
    r->width = padded(p->tags, set);
    r->together = which == TOPK ? INTERLEAVED : 1;
    if (p->transitions_b || p->transitions_t || p->length < 2) return for_each_sentence(r, which, set);
    arena *memory = arena_borrow();
    int64_t status = OUT_OF_MEMORY;
    if (memory && share(r, set, which, memory) == 0) status = for_each_sentence(r, which, set);
    if (memory) arena_return(memory);
    return status;
}

EXPORT int64_t structkd_expectations(const potentials *p, const int64_t *tags, void *value, void *marginals,
                                     void *counts, int64_t edges, double *state) {
    if (tags) {
        int64_t bad = structkd_check_paths(p, tags, 1);
        if (bad >= 0) return bad;
    }
    request r = {.p = *p, .tags = tags, .value = value, .marginals = marginals, .counts = counts, .edges = edges,
                 .state = state};
    return run(&r, EXPECTATIONS);
}

/* mass * log Z minus the expected score of targets, and its derivatives; transitions do not depend on the position. */
EXPORT int64_t structkd_match(const potentials *p, const void *mass, const void *unary, const void *pairs, void *value,
                              void *marginals, void *counts) {
    request r = {.p = *p, .mass = mass, .unary = unary, .pairs = pairs, .value = value, .marginals = marginals,
                 .counts = counts};
    return run(&r, MATCH);
}

EXPORT int64_t structkd_directional(const potentials *p, const void *unary, const void *pairs,
                                    int64_t pairs_by_position, void *marginals, void *counts, int64_t edges,
                                    double *state) {
    request r = {.p = *p, .unary = unary, .pairs = pairs, .pairs_by_position = pairs_by_position,
                 .marginals = marginals, .counts = counts, .edges = edges, .state = state, .resume = state != NULL};
    return run(&r, DIRECTIONAL);
}

EXPORT int64_t structkd_topk(const potentials *p, int64_t k, int64_t *paths, void *scores) {
    request r = {.p = *p, .k = k, .paths = paths, .value = scores};
    return run(&r, TOPK);
}

EXPORT int64_t structkd_sample(const potentials *p, const double *uniforms, int64_t k, int64_t *paths) {
    request r = {.p = *p, .k = k, .uniforms = uniforms, .paths = paths};
    return run(&r, SAMPLE);
}
