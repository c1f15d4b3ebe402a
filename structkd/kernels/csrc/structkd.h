/* The C ABI of the cpu backend: raw pointers and strides, no PyTorch, no NumPy.
 *
 * B sentences, T steps of the longest, C tags, n the length of a sentence. Strides count elements. Floats are float,
 * or double where `wide` is set; inputs and outputs of a call have the same type. Outputs are contiguous and are
 * written everywhere. Derivations: ../README.md.
 */
#ifndef STRUCTKD_H
#define STRUCTKD_H

#include <stdint.h>

typedef struct {
    const void *emissions; /* [B, T, C], tags contiguous */
    int64_t emissions_b, emissions_t;
    const void *transitions; /* [C, C] contiguous, from row to column, for every sentence and pair of steps */
    int64_t transitions_b, transitions_t; /* 0 where shared */
    const void *start; /* [C] */
    int64_t start_b;
    const void *end; /* [C] */
    int64_t end_b;
    const int64_t *lengths; /* [B], 1..T */
    int64_t batch, length, tags, wide, threads;
} potentials;

/* What a call asks for. Every operation is a function of one sentence or a few, which reads and writes its part of
 * these. */
typedef struct {
    potentials p;
    int64_t together; /* how many sentences the operation takes at once */
    const int64_t *order; /* [B] sentences, the longest first, where each lane takes one of them; else NULL */
    int64_t width; /* C rounded up to whole vectors */
    const double *step, *back; /* exp(transitions - lift) [C, width] and its transpose, where all sentences share it */
    double lift;
    const double *start, *end; /* exp(scores - max) [width], where all sentences share them; what was taken out: */
    double ends_lift;
    const double *score, *score_back; /* the transitions themselves, padded with -inf, where all share them */
    const double *gap; /* score_gaps of these, or NULL where they do not pay */
    const int64_t *tags; /* in: gold tags [B, T] */
    const void *mass; /* in: of the targets [B] */
    const void *unary; /* in: targets, or direction of the emissions [B, T, C], or NULL */
    const void *pairs; /* in: targets, or direction of the transitions [B, C, C] or [B, T-1, C, C], or NULL */
    int64_t pairs_by_position;
    const double *uniforms; /* in: [B, k, T] */
    int64_t k;
    int64_t edges; /* whether pair results are [B, T-1, C, C] rather than [B, C, C] */
    void *value; /* out: [B], or [B, k], or NULL */
    void *marginals; /* out: [B, T, C], or NULL */
    void *counts; /* out: pairs, or NULL */
    int64_t *paths; /* out: [B, k, T] */
    double *state; /* NULL, or [B, 3, T, width]: where expectations leaves its sweep and directional finds it */
    int resume; /* the state holds a sweep */
} request;

/* Scratch memory of one thread, given out piece by piece and taken back after each sentence. */
typedef struct arena arena;
double *arena_take(arena *memory, int64_t doubles); /* aligned to 64 bytes; NULL if there is no memory left */

/* On sentence b, or on some from number b on. Returns 0, or -1 if there is no memory left. */
typedef int (*operation)(const request *r, int64_t b, arena *memory);
enum { EXPECTATIONS, MATCH, DIRECTIONAL, TOPK, SAMPLE, OPERATION_COUNT };
enum { INTERLEAVED = 4, TOGETHER = 8 }; /* how many sentences topk takes step by step, and at most */

/* The operations, compiled once per instruction set (chain_base.c, chain_avx2.c, chain_avx512.c). */
typedef struct {
    const char *name;
    int64_t lanes;
    double (*matrix)(double *step, double *back, const void *scores, int64_t at, int64_t tags, int64_t width,
                     int64_t wide); /* exp(scores - max) and its transpose; returns max */
    double (*ends)(double *start, double *end, const request *r, int64_t b); /* likewise, of start and end */
    void (*pad)(double *rows, double *columns, const request *r, int64_t at); /* scores, padded with -inf, and transposed */
    void (*gaps)(double *gap, const double *score, const double *score_back, int64_t tags, int64_t width);
    operation one[OPERATION_COUNT], many[OPERATION_COUNT]; /* on single sentences, on some together; or NULL */
} instruction_set;

/* Entries return -1, or OUT_OF_MEMORY, or the number of the first sentence whose tags are no path. */
#define EXPORT __attribute__((visibility("default")))
#define OUT_OF_MEMORY (-2)

EXPORT int64_t structkd_check_paths(const potentials *p, const int64_t *tags, int64_t k);
EXPORT int64_t structkd_topk(const potentials *p, int64_t k, int64_t *paths, void *scores); /* scores may be NULL */

extern const instruction_set structkd_base, structkd_avx2, structkd_avx512;

#endif
