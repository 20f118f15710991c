/* The range coder of the archive format: intervals of 2^24 to 32-bit words and back, word for word what constriction
 * writes (ARCHIVE_FORMAT.md). Knows no tokens. Included by frame.c. */

#ifndef LLMZIP_CODER_H
#define LLMZIP_CODER_H

#include <stdint.h>
#include <stdlib.h>

enum { CODER_BITS = 24, CODER_TOTAL = 1 << CODER_BITS };

/* All that follows lies in [lower, lower + range) after the words that are written. */
typedef struct {
    uint64_t lower, range;
    uint32_t *words;
    size_t count, capacity;
    int failed; /* no room for a word */
} encoder;

static inline void encoder_begin(encoder *e) {
    *e = (encoder){.lower = 0, .range = UINT64_MAX};
}

static inline void encoder_push(encoder *e, uint32_t word) {
    if (e->count == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : 1024;
        uint32_t *words = realloc(e->words, capacity * sizeof *words);
        if (!words) {
            e->failed = 1;
            return;
        }
        e->words = words, e->capacity = capacity;
    }
    e->words[e->count++] = word;
}

/* What was written moves up by one in its last place: never past the first word, since all of it lies below 1. */
static inline void encoder_carry(encoder *e) {
    for (size_t i = e->count; i > 0 && ++e->words[i - 1] == 0;) i--;
}

static inline void encoder_put(encoder *e, uint32_t below, uint32_t own) {
    uint64_t scale = e->range >> CODER_BITS, lower = e->lower + scale * below;
    if (lower < e->lower) encoder_carry(e);
    e->lower = lower, e->range = scale * own;
    if (e->range >> 32) return;
    encoder_push(e, (uint32_t)(e->lower >> 32));
    e->lower <<= 32, e->range <<= 32;
}

/* The shortest number of whole words that lies in what is left; none if nothing was coded. */
static inline void encoder_end(encoder *e) {
    if (e->range == UINT64_MAX) return;
    uint64_t point = e->lower + UINT32_MAX;
    if (point < e->lower) encoder_carry(e);
    uint32_t word = (uint32_t)(point >> 32), upper = (uint32_t)((e->lower + e->range) >> 32);
    encoder_push(e, word);
    if (word == upper) encoder_push(e, 0);
}

/* Where the payload points lies at point - lower; zeros follow its end. */
typedef struct {
    uint64_t lower, range, point;
    const uint8_t *next, *end;
} decoder;

static inline uint64_t decoder_word(decoder *d) {
    uint64_t word = 0;
    for (int i = 0; i < 4; i++) word = word << 8 | (d->next < d->end ? *d->next++ : 0);
    return word;
}

static inline void decoder_begin(decoder *d, const uint8_t *payload, size_t size) {
    *d = (decoder){.lower = 0, .range = UINT64_MAX, .next = payload, .end = payload + size};
    d->point = decoder_word(d) << 32;
    d->point |= decoder_word(d);
}

/* Where in 0 .. 2^24 - 1 the payload points; 2^24 or more where no encoder can have written it. */
static inline uint64_t decoder_place(const decoder *d) { return (d->point - d->lower) / (d->range >> CODER_BITS); }

static inline void decoder_take(decoder *d, uint32_t below, uint32_t own) {
    uint64_t scale = d->range >> CODER_BITS;
    d->lower += scale * below, d->range = scale * own;
    if (d->range >> 32) return;
    d->lower <<= 32, d->range <<= 32;
    d->point = d->point << 32 | decoder_word(d);
}

#endif
