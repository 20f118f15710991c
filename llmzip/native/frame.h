/* Whole frames in C: tokens to a payload and back, with a model, with model and memory, or with memory alone.
 *
 * The caller brings the threads. To encode, any number of them calls frame_encode at the same time, each takes up
 * whatever is to be done next. To decode, one thread a group of streams calls frame_decode: while one group's tokens are
 * read from the payload, which has one order, the others compute. What is written never depends on threads or groups. */

#ifndef LLMZIP_FRAME_H
#define LLMZIP_FRAME_H

#include "memory.h"
#include "model.h"

enum { FRAME_WORKING, FRAME_FINE, FRAME_TOO_LARGE, FRAME_DAMAGED, FRAME_NO_ROOM };

typedef struct frame frame;

/* m: NULL for memory alone; memory: NULL for a model alone; middle: [vocabulary - 1], the first leaf to the right of each
 * node; positions: that are computed at once, 1 to decode. NULL: no room. */
frame *frame_create(const model *m, memory *memory, const int32_t *middle, int32_t tokens, int32_t streams,
                    int32_t groups, int32_t positions);
void frame_destroy(frame *f);

/* tokens: [streams][longest stream], filled up with zeros. limit: bytes beyond which the payload is of no use. */
void frame_encode(frame *f, const int32_t *tokens, int64_t limit);

/* payload: must stay until the end; tokens: as above, filled here. Called before the threads begin. */
void frame_open(frame *f, const uint8_t *payload, size_t size, int32_t *tokens);
void frame_decode(frame *f, int32_t group);

int64_t frame_done(frame *f);    /* tokens so far, at any time */
void frame_stop(frame *f);       /* the threads return soon */
int32_t frame_outcome(frame *f); /* after they have */
int64_t frame_words(frame *f, const uint32_t **words); /* the payload's, after encoding */

#endif
