/* The exact engine in C: what engine/array_ops.py defines, the same bits (docs/arithmetic.md). A model is packed once and
 * then constant; streams are some token sequences that one thread moves on, many positions at a time or one. Knows no
 * memory but its logarithm, no coder and no files. Used by frame.c and, through the functions here, by Python. */

#ifndef LLMZIP_MODEL_H
#define LLMZIP_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum { EXP_LAST = 1111, SIGMOID_LIMIT = 1024, STEPS_PER_NAT = 64, FREQUENCY_TOTAL = 1 << 24, POSITION_BITS = 12 };

typedef struct {
    int32_t outputs, inputs, part_count;
    const int32_t *part_inputs; /* [part_count]: their sum is ``inputs`` */
    const int8_t *weights;      /* [outputs][inputs] */
    const float *scale;         /* [outputs] */
    const float *bias;          /* [outputs] or NULL */
} matrix_setup;

/* What a model is made of. Everything is copied but the tables and the tree, which must outlive it. */
typedef struct {
    int32_t vocabulary, hidden, layers, heads, groups, dim, feed, window, start;
    double epsilon;
    float score_unit, value_unit, peak_unit;
    const float *embedding;       /* [vocabulary][hidden] */
    const matrix_setup *matrices; /* the output, then four a layer */
    const int32_t *exp;           /* [EXP_LAST + 1] */
    const float *sigmoid;         /* [2 SIGMOID_LIMIT + 1] */
    const double *rotary[4];      /* [2^POSITION_BITS][dim / 2]: sines and cosines of low digits, then of high ones */
    const int32_t *order;         /* [vocabulary]: the tokens as the tree's leaves stand; this and the rest may be NULL */
    const int32_t *path_start;    /* [vocabulary + 1] */
    const int32_t *path_middle;   /* [path_start[vocabulary]]: the first leaf to the right of each node on the way */
    const uint16_t *logarithm;    /* [2048]: of memory_logarithm */
} model_setup;

typedef struct model model;
typedef struct streams streams;

model *model_create(const model_setup *setup); /* NULL: no room */
void model_destroy(model *m);

/* ``count`` streams that have seen nothing but the start token; at most ``positions`` of each are read at once. */
streams *streams_create(const model *m, int32_t count, int32_t positions); /* NULL: no room */
void streams_destroy(streams *s);

/* Reads tokens [active][positions] of the first so many streams; each row is then the state before one of these tokens.
 * The streams that are not active are at their end. */
void streams_read(streams *s, const int32_t *tokens, int32_t active, int32_t positions);

/* Of every row of the last streams_read, or of the newest state where ``now`` is 1, [rows] of: */
void streams_logits(streams *s, int32_t now, float *logits);            /* [vocabulary], in nats */
void streams_frequencies(streams *s, int32_t now, int32_t *frequencies); /* [vocabulary] */
void streams_intervals(streams *s, const int32_t *tokens, int32_t *below, int32_t *own);
void streams_odds(streams *s, const int32_t *tokens, int32_t depth, int16_t *odds); /* [depth]: on the way to each */

/* For frame.c: by leaf, of the newest state of each active stream, [active][vocabulary] and, for ``sum_before``,
 * [active][vocabulary / 64 + 2]. */
void streams_distributions(streams *s, int32_t *frequencies, uint32_t *blocks);
uint32_t sum_before(const int32_t *frequencies, const uint32_t *blocks, int32_t leaf);
int32_t model_odds(const model *m, uint32_t right, uint32_t left); /* of two sums of frequencies, 1/256 nat */
int32_t model_vocabulary(const model *m);
int32_t model_depth(const model *m); /* of the longest way to a token; 0 without a tree */

#endif
