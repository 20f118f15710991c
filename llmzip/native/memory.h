/* The memory, version 2, in C: what a text has shown so far sharpens a model's odds, or stands alone.

docs/memory.md is the specification, memory/reference.py the definition: this computes the same integers, faster. Knows
no archives, models, threads or files; allocates at the start and never again. For a frame's loop, which does

    memory_open(m, stream);
    do share = memory_predict(m, odds), right = (answer coded with share), node = memory_learn(m, right);
    while (node >= 0);
    memory_close(m, ~node);

for each token, position by position and stream by stream. Whatever is decoded, no index leaves its table.
Right shifts of negative numbers are arithmetic, as every compiler has them. */

#ifndef LLMZIP_MEMORY_H
#define LLMZIP_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum {
    MEMORY_CONTEXTS = 16,
    MEMORY_CORRECTED = 8, /* the first contexts, whose slots also correct the model */
    MEMORY_COUNTERS = MEMORY_CONTEXTS + 1,
    MEMORY_MATCHES = 3,
    MEMORY_CANDIDATES = 1 + MEMORY_MATCHES,
    MEMORY_INPUTS = 1 + MEMORY_COUNTERS + MEMORY_CANDIDATES + MEMORY_CORRECTED + 1 + 1, /* 32 */
    MEMORY_SETS = 8,
    MEMORY_GROUP = 4, /* sets in each of the two groups */
    MEMORY_LIMIT = 17 * 256,
    MEMORY_TOTAL = 1 << 24,
    MEMORY_LEAST = 64,
    MEMORY_LINE = 256, /* bytes remembered of a line */
    MEMORY_FIELDS = 32,
    MEMORY_BRACKETS = 32,
    MEMORY_COUNT_LIMIT = 30,
    MEMORY_COUNT_LEVELS = 32,
    MEMORY_LEVELS = 33,
    MEMORY_DEPTHS = 8,
    MEMORY_CONFIDENCES = 64,
    MEMORY_SLOW = 400,
    MEMORY_FAST = 3000,
    MEMORY_HALVING = 2000,
    MEMORY_SET_HALVING = 60,
    MEMORY_USES = 4096,
    MEMORY_BIAS = 77,
    MEMORY_WEIGHT_LIMIT = 6 << 28,
    /* rows of weights: where each set begins; the nodes' come last */
    MEMORY_ROW_SEEN = 0,
    MEMORY_ROW_COSTS = MEMORY_ROW_SEEN + 2 * MEMORY_COUNTERS,
    MEMORY_ROW_TOP = MEMORY_ROW_COSTS + 64,
    MEMORY_ROW_BYTE = MEMORY_ROW_TOP + 16 * 128,
    MEMORY_ROW_CLASSES = MEMORY_ROW_BYTE + 256 * 4,
    MEMORY_ROW_FIELD = MEMORY_ROW_CLASSES + 256 * 4,
    MEMORY_ROW_ABOVE = MEMORY_ROW_FIELD + MEMORY_FIELDS * 8,
    MEMORY_ROW_NODE = MEMORY_ROW_ABOVE + 256 * 3
};

/* What a memory is made from. Arrays are the caller's; those marked * must outlive the memory, the others are copied. */
typedef struct {
    int32_t vocabulary, streams, alone, node_rows;
    int64_t tokens;             /* of the frame */
    const int32_t *path_start;  /* * [vocabulary + 1] */
    const int8_t *path_bit;     /* * answers on the way to each token */
    const int32_t *left;        /* * [vocabulary - 1]: the node below, or ~token */
    const int32_t *right;       /* * */
    const int32_t *node_row;    /* * [vocabulary - 1]: by breadth, at most node_rows - 1 */
    const int32_t *byte_start;  /* * [vocabulary + 1] */
    const uint8_t *bytes;       /* * of all tokens */
    const int32_t *squash;      /* * [2 LIMIT + 1], of 2^24 */
    const int16_t *stretch;     /* * [4096], 1/256 nat */
    const uint16_t *cost;       /* * [4096]: -log2((2 i + 1) / 8192) in 1/256 bit */
    const int32_t *weights;     /* [ROW_NODE + node_rows, INPUTS], 1 = 2^28 */
    const int32_t *final_weights; /* [8, 2], 1 = 2^20 */
    const uint32_t *certainty;  /* [COUNTERS, COUNT_LEVELS, LEVELS], of 2^22 */
    const uint32_t *hit_rate;   /* [CANDIDATES, CONFIDENCES, DEPTHS], of 2^22 */
    const uint64_t *unigram;    /* [vocabulary]: slots by node */
} memory_setup;

typedef struct {
    int32_t row, column;        /* of the predicted token; row -1 for none */
    int32_t length, misses;
} memory_match;

/* What is remembered of one stream's text. */
typedef struct {
    uint64_t word, word_before, field, beginning, masked, number, line, tag;
    uint64_t brackets[MEMORY_BRACKETS];
    uint32_t bracket_count, tag_state;
    int32_t column, field_number, field_offset, current;
    uint8_t last, before_last, last_is_digit, equals_above;
    uint8_t costs;
    int32_t line_length[2], field_count[2];
    int32_t field_start[2][MEMORY_FIELDS];
    int32_t line_token[2][MEMORY_LINE]; /* token + 1 at each byte */
    uint8_t line_byte[2][MEMORY_LINE];
    memory_match match[MEMORY_MATCHES];
} memory_stream;

typedef struct {
    memory_setup setup;
    int32_t length;             /* of the longest stream */
    int32_t shortest, longer;   /* tokens of every stream; how many have one more */
    uint64_t slot_mask;         /* slots of a context - 1 */
    uint64_t *slots;            /* [CONTEXTS, slots]: probability 22 bits, correction 18 signed, count 8, check 16 */
    uint64_t *unigram;
    uint64_t *followers;        /* check 16, token 32, count 16 */
    uint32_t *heads[MEMORY_MATCHES]; /* place after the last occurrence + 1, 0 for none */
    int32_t *history;           /* [streams, length] */
    int32_t *weights;
    uint16_t *uses;             /* of each row */
    int32_t (*final_weights)[2];
    uint32_t *certainty, *hit_rate;
    uint32_t *node_map, *byte_map; /* [rows, LEVELS], of 2^22 */
    memory_stream *stream;
    uint16_t set_rate[MEMORY_USES];
    int32_t probability_rate[MEMORY_COUNT_LIMIT + 1], correction_rate[MEMORY_COUNT_LIMIT + 1];
    uint8_t byte_class[256];
    void *blocks[16];           /* all that is to be freed */
    int32_t block_count;

    /* the token at hand */
    int64_t decisions;
    int32_t at, position;       /* stream and position */
    int32_t node, depth, place; /* place: 1 to 7, of the node among those that share a line of slots */
    int32_t decision_rate, cost;
    uint64_t hash[MEMORY_CONTEXTS], follower_key;
    uint64_t *line[MEMORY_CONTEXTS];
    uint32_t check[MEMORY_CONTEXTS]; /* of the line: check 16 bits, order 3 bits */
    int32_t candidate[MEMORY_CANDIDATES], confidence[MEMORY_CANDIDATES]; /* -1 once refuted */
    int32_t row_base[MEMORY_SETS];
    /* the decision at hand */
    int16_t input[MEMORY_INPUTS];
    uint64_t *slot[MEMORY_COUNTERS];
    uint32_t *trusted[MEMORY_COUNTERS]; /* NULL where the slot is empty */
    uint32_t *hit[MEMORY_CANDIDATES];
    int32_t hit_answer[MEMORY_CANDIDATES];
    int32_t row[MEMORY_SETS];
    int32_t group[2], mixed, final, point, share;
    uint32_t *map[2];
} memory;

memory *memory_create(const memory_setup *setup); /* NULL: no room */
void memory_destroy(memory *m);
void memory_open(memory *m, int32_t stream, int32_t position);
int32_t memory_predict(memory *m, int32_t odds); /* of 2^24: "right" */
int32_t memory_learn(memory *m, int32_t right);  /* the next node, or ~token */
void memory_close(memory *m, int32_t token);

/* 1024 ln(value), rounded, for 1 <= value < 2^36; table: [2048]. The odds of "right" are, in 1/256 nat,
(memory_logarithm(right) - memory_logarithm(left)) >> 2. */
int32_t memory_logarithm(int64_t value, const uint16_t *table);

/* For callers without a coder of their own. Tokens are [streams, columns] int64, from position ``first``. */

/* The (cumulative, frequency) of every decision, with odds [streams, columns, depth], or NULL where the memory is alone.
Returns the number of decisions. */
int64_t memory_intervals(memory *m, const int64_t *tokens, int32_t first, int32_t columns, const int16_t *odds,
                         int32_t depth, int64_t *cumulative, int64_t *frequency);

/* Reads tokens from a payload's words with a model's frequencies of one position [streams, vocabulary] and what is needed
to go down the tree, or with NULL where the memory is alone. coder: lower, range, point, next word. 0, or -1: damaged. */
int64_t memory_read(memory *m, int64_t *tokens, int32_t first, int32_t columns, const int64_t *frequencies,
                    const int32_t *order, const int32_t *middle, const uint16_t *logarithm, const uint32_t *words,
                    int64_t word_count, uint64_t *coder);

/* Copies what has a first state, and how often each row of weights was used. */
void memory_learnt(const memory *m, int32_t *weights, int32_t *final_weights, uint32_t *certainty, uint32_t *hit_rate,
                   uint16_t *uses);

#endif
