#include "memory.h"

#include <stdlib.h>

#include "memory_text.h"

#if defined(__GNUC__) || defined(__clang__)
#define FETCH(address) __builtin_prefetch((address), 1)
#else
#define FETCH(address) ((void)(address))
#endif

enum { FRESH = 1 << 21, CERTAIN = (1 << 22) - 1 };

static inline int32_t within(int64_t value, int32_t limit) {
    return (int32_t)(value < -limit ? -limit : value > limit ? limit : value);
}

/* ---- the beginning ---- */

static void *taken(memory *m, size_t count, size_t size, const void *from) {
    size_t bytes = (count ? count : 1) * size;
    char *block = calloc(1, bytes + 64);
    if (!block) return NULL;
    m->blocks[m->block_count++] = block;
    block += 64 - ((uintptr_t)block & 63); /* calloc's is at 16 at least: never 64 past what is spare */
    if (from) memcpy(block, from, bytes);
    return block;
}

memory *memory_create(const memory_setup *setup) {
    memory *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->setup = *setup;
    int64_t tokens = setup->tokens;
    m->shortest = (int32_t)(tokens / setup->streams);
    m->longer = (int32_t)(tokens % setup->streams);
    m->length = m->shortest + (m->longer > 0);
    int bits = 12;
    while (bits < 19 && (12 * tokens - 1) >> bits) bits++;
    size_t size = (size_t)1 << bits, rows = MEMORY_ROW_NODE + (size_t)setup->node_rows;
    m->slot_mask = size - 1;
    m->slots = taken(m, MEMORY_CONTEXTS * size, sizeof *m->slots, NULL);
    m->unigram = taken(m, (size_t)setup->vocabulary, sizeof *m->unigram, setup->unigram);
    m->followers = taken(m, size, sizeof *m->followers, NULL);
    for (int k = 0; k < MEMORY_MATCHES; k++) m->heads[k] = taken(m, size, sizeof **m->heads, NULL);
    m->history = taken(m, (size_t)setup->streams * (size_t)m->length, sizeof *m->history, NULL);
    m->weights = taken(m, rows * MEMORY_INPUTS, sizeof *m->weights, setup->weights);
    m->uses = taken(m, rows, sizeof *m->uses, NULL);
    m->final_weights = taken(m, 8, sizeof *m->final_weights, setup->final_weights);
    m->certainty = taken(m, MEMORY_COUNTERS * MEMORY_COUNT_LEVELS * MEMORY_LEVELS, 4, setup->certainty);
    m->hit_rate = taken(m, MEMORY_CANDIDATES * MEMORY_CONFIDENCES * MEMORY_DEPTHS, 4, setup->hit_rate);
    m->node_map = taken(m, (size_t)setup->node_rows * MEMORY_LEVELS, 4, NULL);
    m->byte_map = taken(m, 1024 * MEMORY_LEVELS, 4, NULL);
    m->stream = taken(m, (size_t)setup->streams, sizeof *m->stream, NULL);
    if (m->block_count < 15) {
        memory_destroy(m);
        return NULL;
    }
    for (int level = 0; level < MEMORY_LEVELS; level++) {
        uint32_t value = (uint32_t)setup->squash[(level - 16) * 128 + MEMORY_LIMIT] >> 2;
        for (int32_t row = 0; row < setup->node_rows; row++) m->node_map[row * MEMORY_LEVELS + level] = value;
        for (int row = 0; row < 1024; row++) m->byte_map[row * MEMORY_LEVELS + level] = value;
    }
    for (int32_t stream = 0; stream < setup->streams; stream++)
        for (int k = 0; k < MEMORY_MATCHES; k++) m->stream[stream].match[k].row = -1;
    for (int uses = 0; uses < MEMORY_USES; uses++)
        m->set_rate[uses] = (uint16_t)(MEMORY_SLOW + (MEMORY_FAST - MEMORY_SLOW) * MEMORY_SET_HALVING / (MEMORY_SET_HALVING + uses));
    for (int count = 0; count <= MEMORY_COUNT_LIMIT; count++) {
        m->probability_rate[count] = (2 * 65536 + count + 1) / (2 * count + 3);
        m->correction_rate[count] = (32000 + count + 1) / (2 * count + 3);
    }
    for (int byte = 0; byte < 256; byte++) m->byte_class[byte] = (uint8_t)class_of(byte);
    return m;
}

void memory_destroy(memory *m) {
    if (!m) return;
    while (m->block_count) free(m->blocks[--m->block_count]);
    free(m);
}

/* ---- a token begins ---- */

/* The lines of slots of a node and the two levels below it; asked for now, needed soon. */
static inline void find_lines(memory *m, int32_t node) {
    uint64_t salt = (uint64_t)(node + 1) * GOLDEN;
    for (int k = 0; k < MEMORY_CONTEXTS; k++) {
        uint64_t hash = (m->hash[k] ^ salt) * SECOND;
        hash ^= hash >> 32;
        m->line[k] = m->slots + (size_t)k * (m->slot_mask + 1) + (hash & m->slot_mask & ~UINT64_C(7));
        m->check[k] = (uint32_t)(hash >> 40) & 0x7FFFF;
        FETCH(m->line[k]);
    }
    m->place = 1;
}

static inline int32_t depth_class(int32_t depth, int32_t second, int32_t third) {
    return depth == 0 ? 0 : depth < second ? 1 : depth < third ? 2 : 3;
}

void memory_open(memory *m, int32_t stream, int32_t position) {
    memory_stream *text = m->stream + stream;
    const int32_t *now = m->history + (size_t)stream * (size_t)m->length + position;
    uint64_t last[5] = {0};
    for (int back = 1; back < 5 && back <= position; back++) last[back] = (uint64_t)now[-back] + 1;
    m->at = stream;
    m->position = position;
    m->node = m->depth = m->cost = 0;
    m->decision_rate =
        (int32_t)(MEMORY_SLOW + (int64_t)(MEMORY_FAST - MEMORY_SLOW) * MEMORY_HALVING / (MEMORY_HALVING + m->decisions));

    uint64_t pair = mix(last[1], last[2]), skipped = mix(last[2], last[3]);
    int previous = !text->current, column = least_of(text->column, MEMORY_LINE - 1);
    uint64_t above = column < text->line_length[previous] ? (uint64_t)text->line_token[previous][column] : 0;
    int has_field = text->field_number < text->field_count[previous];
    uint64_t three_above = 0, first_above = 0;
    if (has_field) {
        int32_t place = text->field_start[previous][text->field_number] + text->field_offset;
        for (int i = 0; i < 3; i++)
            three_above = three_above * 256 +
                          (place + i < text->line_length[previous] ? text->line_byte[previous][place + i] : 0);
        first_above = three_above >> 16;
    }
    uint64_t masked = text->masked, top = text->bracket_count ? text->brackets[(text->bracket_count - 1) % MEMORY_BRACKETS] : 0;
    uint64_t *hash = m->hash, s = (uint64_t)stream;
    hash[0] = mix(last[1], 1);
    hash[1] = mix(pair, 2);
    hash[2] = mix(text->word, text->word_before + 3);
    hash[3] = mix(mix(above, last[1]), 4);
    hash[4] = mix(mix((uint64_t)text->field_number, text->field), text->beginning + 5);
    hash[5] = mix(text->word, 6);
    if (m->setup.alone) {
        uint64_t triple = mix(pair, last[3]);
        hash[6] = mix(triple, 7);
        hash[7] = mix(skipped, 8);
        hash[8] = mix(mix(triple, last[4]), 13);
    } else {
        hash[6] = mix(s, 9);
        hash[7] = mix(mix(text->word, s >> 2), 10);
        hash[8] = mix(skipped, 8);
    }
    hash[9] = mix(masked & 0xFFFFFFFF, 15);
    hash[10] = mix(masked, 26);
    hash[11] = mix(mix(masked & 0xFFFFFF, s + ((uint64_t)(position >> 9) << 20)), 39);
    hash[12] = mix(mix(three_above, (uint64_t)text->equals_above * 256 + text->last), 20);
    hash[13] = mix(mix(text->number, text->field), 31);
    hash[14] = mix(text->line, 17);
    hash[15] = mix(mix(top, last[1]), 24);
    find_lines(m, 0);

    m->follower_key = mix(mix(masked, three_above), 54);
    uint64_t entry = m->followers[m->follower_key & m->slot_mask];
    m->candidate[0] = -1;
    if (entry >> 48 == m->follower_key >> 48 && (entry & 0xFFFF)) {
        m->candidate[0] = (int32_t)(entry >> 16 & 0xFFFFFFFF);
        m->confidence[0] = least_of((int32_t)(entry & 0xFFFF), 63);
    }
    for (int k = 0; k < MEMORY_MATCHES; k++) {
        const memory_match *match = text->match + k;
        m->candidate[1 + k] = -1;
        if (match->row < 0) continue;
        m->candidate[1 + k] = m->history[(size_t)match->row * (size_t)m->length + (size_t)match->column];
        int32_t length = match->length, misses = match->misses;
        m->confidence[1 + k] = misses  ? 32 + 8 * least_of(misses - 1, 3) + least_of(length, 7)
                               : length < 16 ? length
                                             : least_of(16 + ((length - 16) >> 2), 31);
    }

    int class = m->byte_class[text->last], before = m->byte_class[text->before_last];
    m->row_base[0] = MEMORY_ROW_SEEN;
    m->row_base[1] = MEMORY_ROW_NODE;
    m->row_base[2] = MEMORY_ROW_COSTS + text->costs;
    m->row_base[3] = MEMORY_ROW_TOP + class * 128;
    m->row_base[4] = MEMORY_ROW_BYTE + text->last * 4;
    m->row_base[5] = MEMORY_ROW_CLASSES + (before * 16 + class) * 4;
    m->row_base[6] = MEMORY_ROW_FIELD + least_of(text->field_number, MEMORY_FIELDS - 1) * 8;
    m->row_base[7] = MEMORY_ROW_ABOVE + (class * 16 + m->byte_class[first_above]) * 3;
    m->final = m->candidate[2] >= 0   ? 4 + least_of(m->confidence[2] >> 3, 3)
               : m->candidate[1] >= 0 ? 1 + least_of(m->confidence[1] >> 3, 2)
                                      : 0;
}

/* ---- a decision ---- */

static inline int32_t dot(const int32_t *weights, const int16_t *inputs) {
    int16_t rounded[MEMORY_INPUTS];
    int32_t sum = 0;
    for (int i = 0; i < MEMORY_INPUTS; i++) rounded[i] = (int16_t)(weights[i] >> 16);
    for (int i = 0; i < MEMORY_INPUTS; i++) sum += rounded[i] * inputs[i];
    return sum;
}

/* The slot of a place on a line, or of its neighbour; taken over from what has been seen less often if it is neither's. */
static inline uint64_t *find_slot(uint64_t *line, uint32_t line_check, int32_t place) {
    uint32_t check = (line_check + (uint32_t)place * 0x9E37u) & 0xFFFF;
    uint64_t *slot = line + ((uint32_t)place ^ line_check >> 16), *other = line + ((uint32_t)place ^ line_check >> 16 ^ 1);
    if ((*slot & 0xFFFF) != check) {
        if ((*other & 0xFFFF) == check) return other;
        if ((*other >> 16 & 255) < (*slot >> 16 & 255)) slot = other;
        *slot = check;
    }
    if (!(*slot >> 16 & 255)) *slot = (uint64_t)FRESH << 42 | check;
    return slot;
}

static inline int32_t probability_of(uint64_t slot) { return (int32_t)(slot >> 42); }
static inline int32_t count_of(uint64_t slot) { return (int32_t)(slot >> 16 & 255); }
static inline int32_t correction_of(uint64_t slot) { return (int32_t)((slot >> 24 & 0x3FFFF) ^ 0x20000) - 0x20000; }

/* What a counter in this state is worth; its place is kept to be learnt. */
static inline int16_t trusted(memory *m, int k, uint64_t slot) {
    const int16_t *stretch = m->setup.stretch;
    int32_t level = (stretch[probability_of(slot) >> 10] + 2112) >> 7;
    level = level < 0 ? 0 : least_of(level, MEMORY_LEVELS - 1);
    uint32_t *found = m->certainty + (k * MEMORY_COUNT_LEVELS + count_of(slot)) * MEMORY_LEVELS + level;
    m->trusted[k] = found;
    return stretch[*found >> 10];
}

int32_t memory_predict(memory *m, int32_t odds) {
    const int16_t *stretch = m->setup.stretch;
    const int32_t *squash = m->setup.squash + MEMORY_LIMIT;
    int16_t *input = m->input, *counter = input + 1, *candidate = counter + MEMORY_COUNTERS;
    int16_t *correction = candidate + MEMORY_CANDIDATES;
    int32_t node = m->node, depth = m->depth, seen = 0;
    input[0] = (int16_t)within(odds, MEMORY_LIMIT);
    for (int k = 0; k < MEMORY_CONTEXTS; k++) {
        uint64_t *slot = find_slot(m->line[k], m->check[k], m->place);
        m->slot[k] = slot;
        counter[k] = 0;
        m->trusted[k] = NULL;
        if (count_of(*slot)) counter[k] = trusted(m, k, *slot), seen++;
        if (k < MEMORY_CORRECTED) correction[k] = (int16_t)((correction_of(*slot) + 8) >> 4);
    }
    uint64_t *unigram = m->unigram + node;
    m->slot[MEMORY_CONTEXTS] = unigram;
    counter[MEMORY_CONTEXTS] = trusted(m, MEMORY_CONTEXTS, *unigram);
    correction[MEMORY_CORRECTED] = (int16_t)((correction_of(*unigram) + 8) >> 4);
    input[MEMORY_INPUTS - 1] = MEMORY_BIAS;
    int32_t shallow = least_of(depth, MEMORY_DEPTHS - 1);
    for (int k = 0; k < MEMORY_CANDIDATES; k++) {
        candidate[k] = 0;
        if (m->candidate[k] < 0) continue;
        int right = m->setup.path_bit[m->setup.path_start[m->candidate[k]] + depth];
        m->hit[k] = m->hit_rate + (k * MEMORY_CONFIDENCES + m->confidence[k]) * MEMORY_DEPTHS + shallow;
        int16_t value = stretch[*m->hit[k] >> 10];
        m->hit_answer[k] = right;
        candidate[k] = (int16_t)(right ? value : -value);
    }

    int32_t node_row = m->setup.node_row[node], quarter = depth_class(depth, 4, 8), third = depth_class(depth, 3, 7);
    int32_t *row = m->row, *base = m->row_base;
    row[0] = base[0] + seen + (depth ? 0 : MEMORY_COUNTERS);
    row[1] = base[1] + node_row;
    row[2] = base[2];
    row[3] = base[3] + least_of(node_row, 127);
    row[4] = base[4] + quarter;
    row[5] = base[5] + third;
    row[6] = base[6] + shallow;
    row[7] = base[7] + least_of(quarter, 2);
    for (int group = 0; group < 2; group++) {
        int64_t sum = 0;
        for (int i = 0; i < MEMORY_GROUP; i++)
            sum += dot(m->weights + (size_t)row[group * MEMORY_GROUP + i] * MEMORY_INPUTS, input);
        m->group[group] = within((sum + 2048) >> 12, MEMORY_LIMIT);
    }
    const int32_t *final = m->final_weights[m->final];
    int64_t sum = (int64_t)final[0] * m->group[0] + (int64_t)final[1] * m->group[1];
    m->mixed = within((sum + (1 << 19)) >> 20, MEMORY_LIMIT);

    int32_t point = m->mixed + 2048;
    m->point = point = point < 0 ? 0 : least_of(point, 4095);
    m->map[0] = m->node_map + (size_t)node_row * MEMORY_LEVELS + (point >> 7);
    m->map[1] = m->byte_map + (m->stream[m->at].last * 4 + third) * MEMORY_LEVELS + (point >> 7);
    uint32_t part = (uint32_t)point & 127, mapped = 0;
    for (int k = 0; k < 2; k++) mapped += m->map[k][0] * (128 - part) + m->map[k][1] * part; /* of 2^30 in all */
    int32_t share = (squash[m->mixed] >> 1) + (int32_t)(mapped >> 7);
    m->share = share = share < MEMORY_LEAST ? MEMORY_LEAST : least_of(share, MEMORY_TOTAL - MEMORY_LEAST);
    return share;
}

static inline void learn_slot(uint64_t *slot, int32_t right, int32_t correction, const memory *m) {
    int32_t count = count_of(*slot), probability = probability_of(*slot);
    int64_t step = (int64_t)((right ? CERTAIN : 0) - probability) * m->probability_rate[count];
    probability += (int32_t)((step + 32768) >> 16);
    *slot = (uint64_t)probability << 42 | (uint64_t)((uint32_t)correction & 0x3FFFF) << 24 |
            (uint64_t)least_of(count + 1, MEMORY_COUNT_LIMIT) << 16 | (*slot & 0xFFFF);
}

static inline int32_t corrected(const memory *m, uint64_t slot, int32_t answer) {
    int32_t correction = correction_of(slot);
    int32_t odds = within(m->input[0] + ((correction + 8) >> 4), MEMORY_LIMIT);
    int64_t error = answer - m->setup.squash[odds + MEMORY_LIMIT];
    int64_t step = error * m->correction_rate[count_of(slot)];
    return within(correction + ((step + (1 << 23)) >> 24), MEMORY_LIMIT * 16);
}

static inline void move(uint32_t *value, uint32_t goal) {
    *value = (uint32_t)((int32_t)*value + (((int32_t)goal - (int32_t)*value + 64) >> 7));
}

static inline void learn_weights(int32_t *weights, const int16_t *inputs, int16_t step) {
    for (int i = 0; i < MEMORY_INPUTS; i++) {
        int32_t weight = weights[i] + inputs[i] * step;
        weight = weight > MEMORY_WEIGHT_LIMIT ? MEMORY_WEIGHT_LIMIT : weight;
        weights[i] = weight < -MEMORY_WEIGHT_LIMIT ? -MEMORY_WEIGHT_LIMIT : weight;
    }
}

int32_t memory_learn(memory *m, int32_t right) {
    const int32_t *squash = m->setup.squash + MEMORY_LIMIT;
    int32_t answer = right << 24;
    uint32_t goal = right ? CERTAIN : 0;
    m->cost += m->setup.cost[(right ? m->share : MEMORY_TOTAL - m->share) >> 12];

    /* the mixers */
    int32_t *final = m->final_weights[m->final];
    int64_t error = (answer - squash[m->mixed]) >> 8;
    for (int group = 0; group < 2; group++) {
        final[group] = within(final[group] + ((m->group[group] * error * 60 + (1 << 19)) >> 20), 1 << 24);
        int64_t own = answer - squash[m->group[group]];
        for (int i = 0; i < MEMORY_GROUP; i++) {
            int32_t row = m->row[group * MEMORY_GROUP + i], uses = m->uses[row];
            int32_t rate = m->set_rate[uses];
            if (rate < m->decision_rate) rate = m->decision_rate;
            int16_t step = (int16_t)((own * rate + (1 << 21)) >> 22);
            if (step) learn_weights(m->weights + (size_t)row * MEMORY_INPUTS, m->input, step);
            if (uses < MEMORY_USES - 1) m->uses[row]++;
        }
    }

    /* the maps */
    int32_t part = m->point & 127;
    for (int k = 0; k < 2; k++)
        for (int side = 0; side < 2; side++) {
            int64_t step = ((int64_t)goal - m->map[k][side]) * ((side ? part : 128 - part) * 5);
            m->map[k][side] = (uint32_t)(m->map[k][side] + ((step + 16384) >> 15));
        }

    /* what takes part in the next decision may come from afar */
    uint64_t *slot[MEMORY_COUNTERS];
    memcpy(slot, m->slot, sizeof slot);
    int32_t next = right ? m->setup.right[m->node] : m->setup.left[m->node];
    m->node = next;
    m->depth++;
    m->decisions++;
    m->place = m->place * 2 + right;
    if (next >= 0 && m->depth % 3 == 0) find_lines(m, next);

    /* counters, corrections, candidates */
    for (int k = 0; k < MEMORY_COUNTERS; k++) {
        if (m->trusted[k]) move(m->trusted[k], goal);
        int32_t correction = 0;
        if (k < MEMORY_CORRECTED || k == MEMORY_CONTEXTS) correction = corrected(m, *slot[k], answer);
        learn_slot(slot[k], right, correction, m);
    }
    for (int k = 0; k < MEMORY_CANDIDATES; k++) {
        if (m->candidate[k] < 0) continue;
        move(m->hit[k], m->hit_answer[k] == right ? CERTAIN : 0);
        if (m->hit_answer[k] != right) m->candidate[k] = -1;
    }
    return next;
}

/* ---- a token ends ---- */

static void follow(memory *m, int32_t token) {
    uint64_t *entry = m->followers + (m->follower_key & m->slot_mask), tag = m->follower_key >> 48;
    uint64_t kept = *entry >> 16 & 0xFFFFFFFF, count = *entry & 0xFFFF;
    if (*entry >> 48 == tag && count && (kept == (uint64_t)token || count > 4))
        count = kept != (uint64_t)token ? count >> 2 : count < 250 ? count + 1 : 250;
    else
        kept = (uint64_t)token, count = 1;
    *entry = tag << 48 | kept << 16 | count;
}

void memory_close(memory *m, int32_t token) {
    static const int32_t lengths[MEMORY_MATCHES] = {4, 8, 16};
    memory_stream *text = m->stream + m->at;
    int32_t *now = m->history + (size_t)m->at * (size_t)m->length + m->position;
    *now = token;
    follow(m, token);
    uint64_t key = 99;
    int32_t back = 0;
    for (int k = 0; k < MEMORY_MATCHES; k++) {
        uint32_t *head = NULL;
        if (m->position + 1 >= lengths[k]) {
            for (; back < lengths[k]; back++) key = mix(key, (uint64_t)now[-back]);
            head = m->heads[k] + (key & m->slot_mask);
        }
        match_token(m, text->match + k, lengths[k], head, token);
    }
    text->costs = (uint8_t)((text->costs << 2 | (m->cost < 77 ? 0 : m->cost < 384 ? 1 : m->cost < 1280 ? 2 : 3)) & 63);
    for (int32_t i = m->setup.byte_start[token]; i < m->setup.byte_start[token + 1]; i++)
        read_byte(text, m->setup.bytes[i], token);
}
