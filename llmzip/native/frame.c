#include "frame.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "coder.h"

#if defined(_WIN32)
#include <windows.h>
#define REST() SwitchToThread()
#else
#include <sched.h>
#define REST() sched_yield()
#endif

enum { BLOCK = 64, AHEAD = 2, PATIENCE = 2000 };

/* Some of the streams, moved on by one thread at a time. */
typedef struct {
    streams *context;
    int32_t first, count;
    int32_t computed, busy;  /* to encode: chunks of positions */
    int16_t *odds;           /* [AHEAD][count][positions][depth] */
    int32_t *below, *own;    /* [AHEAD][count][positions], where there is no memory */
    int32_t *chunk, *newest; /* [count][positions], [count] */
    int32_t *frequencies;    /* to decode: [count][vocabulary] */
    uint32_t *blocks;        /* [count][vocabulary / BLOCK + 2] */
} group;

struct frame {
    const model *m;
    memory *memory;
    const int32_t *middle, *tokens;
    int32_t *found;
    int32_t streams, length, shortest, longer, positions, group_count, vocabulary, depth;
    group *groups;
    encoder out;
    decoder in;
    int32_t coding, coded; /* to encode: whether a thread codes; chunks so far */
    atomic_flag lock;
    atomic_int stop, outcome;
    atomic_llong done, turn;
};

/* ---- the beginning and the end ---- */

static void *room(size_t count, size_t size) { return calloc(count ? count : 1, size); }

frame *frame_create(const model *m, memory *memory, const int32_t *middle, int32_t tokens, int32_t streams,
                    int32_t groups, int32_t positions) {
    frame *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->m = m, f->memory = memory, f->middle = middle, f->streams = streams, f->positions = positions;
    f->shortest = tokens / streams, f->longer = tokens % streams, f->length = f->shortest + (f->longer > 0);
    f->group_count = m ? groups : 1;
    f->vocabulary = m ? model_vocabulary(m) : 0, f->depth = m ? model_depth(m) : 0;
    f->groups = room((size_t)f->group_count, sizeof *f->groups);
    atomic_flag_clear(&f->lock);
    encoder_begin(&f->out);
    for (int32_t i = 0, first = 0; f->groups && i < f->group_count; i++) {
        group *g = f->groups + i;
        g->first = first, g->count = streams / f->group_count + (i < streams % f->group_count), first += g->count;
        size_t count = (size_t)g->count, rows = count * (size_t)positions;
        g->newest = room(count, sizeof *g->newest);
        int fine = g->newest != NULL;
        if (m) {
            g->context = streams_create(m, g->count, positions);
            g->chunk = room(rows, sizeof *g->chunk);
            fine = fine && g->context && g->chunk;
        }
        if (m && memory) {
            g->odds = room(AHEAD * rows * (size_t)f->depth, sizeof *g->odds);
            fine = fine && g->odds;
        } else if (m) {
            g->below = room(AHEAD * rows, sizeof *g->below), g->own = room(AHEAD * rows, sizeof *g->own);
            fine = fine && g->below && g->own;
        }
        if (m && positions == 1) {
            g->frequencies = room(count * (size_t)f->vocabulary, sizeof *g->frequencies);
            g->blocks = room(count * (size_t)(f->vocabulary / BLOCK + 2), sizeof *g->blocks);
            fine = fine && g->frequencies && g->blocks;
        }
        if (!fine) {
            frame_destroy(f);
            return NULL;
        }
    }
    if (f->groups) return f;
    free(f);
    return NULL;
}

void frame_destroy(frame *f) {
    if (!f) return;
    for (int32_t i = 0; i < f->group_count; i++) {
        group *g = f->groups + i;
        streams_destroy(g->context);
        free(g->odds), free(g->below), free(g->own), free(g->chunk), free(g->newest), free(g->frequencies), free(g->blocks);
    }
    free(f->groups), free(f->out.words);
    free(f);
}

int64_t frame_done(frame *f) { return atomic_load(&f->done); }

void frame_stop(frame *f) { atomic_store(&f->stop, 1); }

int32_t frame_outcome(frame *f) { return atomic_load(&f->outcome); }

int64_t frame_words(frame *f, const uint32_t **words) {
    *words = f->out.words;
    return (int64_t)f->out.count;
}

static void end(frame *f, int outcome) {
    int working = FRAME_WORKING;
    atomic_compare_exchange_strong(&f->outcome, &working, outcome);
    atomic_store(&f->stop, 1);
}

static int32_t active_at(const frame *f, int32_t position) { return position < f->shortest ? f->streams : f->longer; }

/* ---- encoding ---- */

/* The odds, or the intervals, of a group's tokens in a chunk of positions. */
static void compute(frame *f, group *g, int32_t index) {
    int32_t first = index * f->positions, count = f->length - first < f->positions ? f->length - first : f->positions;
    size_t side = (size_t)(index % AHEAD) * (size_t)g->count * (size_t)f->positions;
    for (int32_t s = 0; s < g->count; s++) {
        const int32_t *from = f->tokens + (size_t)(g->first + s) * (size_t)f->length + first;
        memcpy(g->chunk + (size_t)s * (size_t)count, from, (size_t)count * sizeof *from);
    }
    streams_read(g->context, g->chunk, g->count, count);
    if (f->memory) streams_odds(g->context, g->chunk, f->depth, g->odds + side * (size_t)f->depth);
    else streams_intervals(g->context, g->chunk, g->below + side, g->own + side);
}

/* One token with memory, node by node; odds: on its way, or NULL. */
static void encode_token(frame *f, int32_t stream, int32_t position, int32_t token, const int16_t *odds) {
    memory *m = f->memory;
    memory_open(m, stream, position);
    for (int32_t step = m->setup.path_start[token]; step < m->setup.path_start[token + 1]; step++) {
        int32_t right = m->setup.path_bit[step], share = memory_predict(m, odds ? *odds++ : 0);
        encoder_put(&f->out, right ? (uint32_t)(CODER_TOTAL - share) : 0, (uint32_t)(right ? share : CODER_TOTAL - share));
        memory_learn(m, right);
    }
    memory_close(m, token);
}

/* Writes the tokens of a chunk that all groups have computed, position by position, stream by stream. */
static void write_chunk(frame *f, int32_t index) {
    int32_t first = index * f->positions, count = f->length - first < f->positions ? f->length - first : f->positions;
    for (int32_t i = 0; i < count && !atomic_load_explicit(&f->stop, memory_order_relaxed); i++) {
        int32_t active = active_at(f, first + i);
        for (int32_t k = 0; k < f->group_count; k++) {
            const group *g = f->groups + k;
            size_t side = (size_t)(index % AHEAD) * (size_t)g->count * (size_t)f->positions;
            for (int32_t s = 0; s < g->count && g->first + s < active; s++) {
                size_t place = side + (size_t)s * (size_t)count + (size_t)i;
                int32_t token = f->tokens[(size_t)(g->first + s) * (size_t)f->length + (size_t)(first + i)];
                if (f->memory)
                    encode_token(f, g->first + s, first + i, token, f->m ? g->odds + place * (size_t)f->depth : NULL);
                else
                    encoder_put(&f->out, (uint32_t)g->below[place], (uint32_t)g->own[place]);
            }
        }
        atomic_fetch_add(&f->done, active);
    }
}

static void enter(frame *f) {
    while (atomic_flag_test_and_set_explicit(&f->lock, memory_order_acquire)) REST();
}

static void leave(frame *f) { atomic_flag_clear_explicit(&f->lock, memory_order_release); }

/* What is to be done next: a chunk to write (*to is NULL), or one of a group to compute; -1 for nothing now. */
static int32_t next_task(frame *f, group **to) {
    int32_t chunks = (f->length + f->positions - 1) / f->positions, least = chunks;
    group *behind = NULL;
    for (int32_t k = 0; f->m && k < f->group_count; k++) {
        group *g = f->groups + k;
        if (g->computed < least) least = g->computed;
        if (!g->busy && g->computed < chunks && g->computed < f->coded + AHEAD && (!behind || g->computed < behind->computed))
            behind = g;
    }
    *to = NULL;
    if (!f->coding && f->coded < least) return f->coded;
    *to = behind;
    return behind ? behind->computed : -1;
}

void frame_encode(frame *f, const int32_t *tokens, int64_t limit) {
    int32_t chunks = (f->length + f->positions - 1) / f->positions;
    enter(f);
    f->tokens = tokens;
    while (!atomic_load(&f->stop)) {
        group *g;
        int32_t task = next_task(f, &g);
        if (task >= 0) {
            if (g) g->busy = 1;
            else f->coding = 1;
            leave(f);
            if (g) compute(f, g, task);
            else write_chunk(f, task);
            enter(f);
            if (g) {
                g->busy = 0, g->computed++;
                continue;
            }
            f->coding = 0, f->coded++;
            if (f->out.failed) end(f, FRAME_NO_ROOM);
            else if (4 * (int64_t)f->out.count > limit) end(f, FRAME_TOO_LARGE);
            else if (f->coded == chunks && !atomic_load(&f->stop)) {
                encoder_end(&f->out);
                end(f, f->out.failed ? FRAME_NO_ROOM : FRAME_FINE);
            }
            continue;
        }
        leave(f);
        REST();
        enter(f);
    }
    leave(f);
}

/* ---- decoding ---- */

void frame_open(frame *f, const uint8_t *payload, size_t size, int32_t *tokens) {
    decoder_begin(&f->in, payload, size);
    f->found = tokens;
}

/* The next token of a stream with memory; -1 where the payload is damaged. */
static int32_t decode_with_memory(frame *f, int32_t stream, int32_t position, const int32_t *frequencies,
                                  const uint32_t *blocks) {
    memory *m = f->memory;
    int32_t node = 0, odds = 0;
    uint32_t below = 0, end = CODER_TOTAL, middle = 0; /* of the node's leaves */
    memory_open(m, stream, position);
    do {
        if (frequencies) {
            middle = sum_before(frequencies, blocks, f->middle[node]);
            odds = model_odds(f->m, end - middle, middle - below);
        }
        int32_t share = memory_predict(m, odds);
        uint64_t place = decoder_place(&f->in);
        if (place >= CODER_TOTAL) return -1;
        int32_t right = place >= (uint64_t)(CODER_TOTAL - share);
        decoder_take(&f->in, right ? (uint32_t)(CODER_TOTAL - share) : 0, (uint32_t)(right ? share : CODER_TOTAL - share));
        if (right) below = middle;
        else end = middle;
        node = memory_learn(m, right);
    } while (node >= 0);
    memory_close(m, ~node);
    return ~node;
}

static int32_t decode_plain(frame *f, const int32_t *frequencies) {
    uint64_t place = decoder_place(&f->in);
    if (place >= CODER_TOTAL) return -1;
    uint32_t below = 0;
    int32_t token = 0;
    while (below + (uint32_t)frequencies[token] <= place) below += (uint32_t)frequencies[token++];
    decoder_take(&f->in, below, (uint32_t)frequencies[token]);
    return token;
}

/* Whether it is this turn's time; 0 where everything has stopped. */
static int wait_for(frame *f, int64_t turn) {
    for (int tries = 0; atomic_load_explicit(&f->turn, memory_order_acquire) != turn; tries++) {
        if (atomic_load_explicit(&f->stop, memory_order_relaxed)) return 0;
        if (tries > PATIENCE) REST();
    }
    return !atomic_load_explicit(&f->stop, memory_order_relaxed);
}

void frame_decode(frame *f, int32_t index) {
    group *g = f->groups + index;
    size_t vocabulary = (size_t)f->vocabulary;
    for (int32_t position = 0; position < f->length; position++) {
        int32_t active = active_at(f, position) - g->first;
        active = active < 0 ? 0 : active > g->count ? g->count : active;
        if (f->m && active) {
            if (position) streams_read(g->context, g->newest, active, 1);
            if (f->memory) streams_distributions(g->context, g->frequencies, g->blocks);
            else streams_frequencies(g->context, 1, g->frequencies);
        }
        if (!wait_for(f, (int64_t)position * f->group_count + index)) return;
        for (int32_t s = 0; s < active; s++) {
            const int32_t *frequencies = f->m ? g->frequencies + (size_t)s * vocabulary : NULL;
            const uint32_t *blocks = f->m ? g->blocks + (size_t)s * (vocabulary / BLOCK + 2) : NULL;
            int32_t token = f->memory ? decode_with_memory(f, g->first + s, position, frequencies, blocks)
                                      : decode_plain(f, frequencies);
            if (token < 0) {
                end(f, FRAME_DAMAGED);
                return;
            }
            g->newest[s] = token;
            f->found[(size_t)(g->first + s) * (size_t)f->length + (size_t)position] = token;
        }
        atomic_fetch_add(&f->done, active);
        if (position == f->length - 1 && index == f->group_count - 1) end(f, FRAME_FINE);
        atomic_fetch_add_explicit(&f->turn, 1, memory_order_release);
    }
}
