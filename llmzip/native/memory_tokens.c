/* The memory over whole tables of tokens, for Python, which has a coder of its own. */

#include <string.h>

#include "memory.h"

/* ---- a model's odds ---- */

int32_t memory_logarithm(int64_t value, const uint16_t *table) {
    int32_t exponent = 0;
    for (int64_t rest = value; rest; rest >>= 1) exponent++;
    uint64_t mantissa = (uint64_t)value << (36 - exponent) >> 24 & 2047; /* the 11 bits after the first */
    return exponent * 709783 / 1000 + table[mantissa];
}

/* ---- whole tables of tokens, for callers without a coder of their own ---- */

int64_t memory_intervals(memory *m, const int64_t *tokens, int32_t first, int32_t columns, const int16_t *odds,
                         int32_t depth, int64_t *cumulative, int64_t *frequency) {
    int64_t count = 0;
    for (int32_t column = 0; column < columns; column++) {
        int32_t position = first + column, active = position < m->shortest ? m->setup.streams : m->longer;
        for (int32_t stream = 0; stream < active; stream++) {
            size_t place = (size_t)stream * (size_t)columns + (size_t)column;
            int32_t token = (int32_t)tokens[place];
            memory_open(m, stream, position);
            for (int32_t step = m->setup.path_start[token]; step < m->setup.path_start[token + 1]; step++) {
                int32_t right = m->setup.path_bit[step];
                int32_t share = memory_predict(m, odds ? odds[place * (size_t)depth + (size_t)m->depth] : 0);
                cumulative[count] = right ? MEMORY_TOTAL - share : 0;
                frequency[count++] = right ? share : MEMORY_TOTAL - share;
                memory_learn(m, right);
            }
            memory_close(m, token);
        }
    }
    return count;
}

/* One answer read from the words of the range coder (docs in ARCHIVE_FORMAT.md); -1 where they are none. "Left" is the
interval from 0. coder: lower, range, point, next word. */
static int32_t decide(uint64_t *coder, const uint32_t *words, int64_t word_count, uint32_t share) {
    uint64_t scale = coder[1] >> 24, cut = scale * (MEMORY_TOTAL - share), gone = coder[2] - coder[0];
    if (gone >= scale << 24) return -1;
    int32_t right = gone >= cut;
    if (right) coder[0] += cut;
    coder[1] = right ? scale * share : cut;
    if (coder[1] < UINT64_C(1) << 32) {
        for (int i = 0; i < 3; i++) coder[i] <<= 32;
        if (coder[3] < (uint64_t)word_count) coder[2] |= words[coder[3]];
        coder[3]++;
    }
    return right;
}

int64_t memory_read(memory *m, int64_t *tokens, int32_t first, int32_t columns, const int64_t *frequencies,
                    const int32_t *order, const int32_t *middle, const uint16_t *logarithm, const uint32_t *words,
                    int64_t word_count, uint64_t *coder) {
    for (int32_t column = 0; column < columns; column++) {
        int32_t position = first + column, active = position < m->shortest ? m->setup.streams : m->longer;
        for (int32_t stream = 0; stream < active; stream++) {
            const int64_t *row = frequencies ? frequencies + (size_t)stream * (size_t)m->setup.vocabulary : NULL;
            int32_t leaf = 0, node = 0, odds = 0;
            int64_t whole = MEMORY_TOTAL, left = 0;
            memory_open(m, stream, position);
            while (node >= 0) {
                if (row) {
                    left = 0;
                    for (int32_t i = leaf; i < middle[node]; i++) left += row[order[i]];
                    odds = (memory_logarithm(whole - left, logarithm) - memory_logarithm(left, logarithm)) >> 2;
                }
                int32_t right = decide(coder, words, word_count, (uint32_t)memory_predict(m, odds));
                if (right < 0) return -1;
                if (right) leaf = middle[node], whole -= left;
                else whole = left;
                node = memory_learn(m, right);
            }
            tokens[(size_t)stream * (size_t)columns + (size_t)column] = ~node;
            memory_close(m, ~node);
        }
    }
    return 0;
}

void memory_learnt(const memory *m, int32_t *weights, int32_t *final_weights, uint32_t *certainty, uint32_t *hit_rate,
                   uint16_t *uses) {
    size_t rows = MEMORY_ROW_NODE + (size_t)m->setup.node_rows;
    memcpy(weights, m->weights, rows * MEMORY_INPUTS * sizeof *weights);
    memcpy(final_weights, m->final_weights, 8 * sizeof *m->final_weights);
    memcpy(certainty, m->certainty, MEMORY_COUNTERS * MEMORY_COUNT_LEVELS * MEMORY_LEVELS * sizeof *certainty);
    memcpy(hit_rate, m->hit_rate, MEMORY_CANDIDATES * MEMORY_CONFIDENCES * MEMORY_DEPTHS * sizeof *hit_rate);
    memcpy(uses, m->uses, rows * sizeof *uses);
}
