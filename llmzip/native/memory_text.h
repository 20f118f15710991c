/* What the memory remembers of a stream: classes of bytes, matches, words, fields, lines, brackets (memory/text.py).
Included by memory.c only. */

#ifndef LLMZIP_MEMORY_TEXT_H
#define LLMZIP_MEMORY_TEXT_H

#include <string.h>

#include "memory.h"

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)
#define SECOND UINT64_C(0xBF58476D1CE4E5B9)

static inline uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t value = a * GOLDEN + b + UINT64_C(0x632BE59BD9B4E019);
    value = (value ^ (value >> 29)) * SECOND;
    return value ^ (value >> 32);
}

static inline int32_t least_of(int32_t a, int32_t b) { return a < b ? a : b; }

static int class_of(int byte) {
    if (byte == '\n') return 0;
    if (byte == ' ') return 1;
    if (byte >= '0' && byte <= '9') return 2;
    if (byte >= 'a' && byte <= 'z') return 3;
    if (byte >= 'A' && byte <= 'Z') return 4;
    if (byte >= 128) return 5;
    if (byte && strchr(",;:.", byte)) return 6;
    if (byte == '"' || byte == '\'') return 7;
    if (byte && strchr("([{<", byte)) return 8;
    if (byte && strchr(")]}>", byte)) return 9;
    if (byte && strchr("=+*", byte)) return 10;
    if (byte == '/' || byte == '\\') return 11;
    if (byte == '-' || byte == '_') return 12;
    return byte == '\t' ? 13 : 14;
}

static void match_token(memory *m, memory_match *match, int32_t least, uint32_t *head, int32_t token) {
    int32_t length = m->length, position = m->position;
    int64_t here = (int64_t)m->at * length + position;
    const int32_t *history = m->history;
    int hit = 0;
    if (match->row >= 0) {
        const int32_t *row = history + (size_t)match->row * (size_t)length;
        int32_t column = match->column;
        hit = row[column] == token;
        if (hit) {
            match->length++;
            if (match->misses && match->length >= 16) match->misses = 0;
        } else if (match->misses < 16 && (match->misses || match->length >= least)) {
            if (match->misses && column + 1 < length && row[column + 1] == token) {
                match->column++;
                match->length = 1;
            } else if (match->misses && column > 0 && row[column - 1] == token) {
                match->column--;
                match->length = 1;
            } else {
                match->misses++;
                match->length = 0;
            }
        } else {
            match->row = -1;
        }
        match->column++;
    }
    if (head) {
        int64_t place = (int64_t)*head - 1; /* after the last occurrence */
        int64_t own = match->row < 0 ? -1 : (int64_t)match->row * length + match->column;
        if (place > 0 && (own < 0 || (match->misses && (!hit || place != own)))) {
            int32_t row = (int32_t)((place - 1) / length), column = (int32_t)((place - 1) % length), same = 0;
            const int32_t *there = history + place - 1, *near = history + here;
            int32_t most = least_of(31, least_of(column, position));
            while (same <= most && there[-same] == near[-same]) same++;
            if (same >= least) {
                match->row = row;
                match->column = column + 1;
                match->length = same;
                match->misses = 0;
            }
        }
        *head = (uint32_t)(here + 2);
    }
    /* what lies there must have been coded */
    if (match->row < 0 || match->column >= length || match->column > position ||
        (match->column == position && match->row > m->at)) {
        match->row = -1;
        match->length = match->misses = 0;
    }
}

static void read_bracket(memory_stream *text, int byte) {
    enum { TEXT, NAME, ATTRIBUTES, CLOSING };
    uint64_t pushed = 0;
    int popped = byte == ')' || byte == ']' || byte == '}';
    if (byte == '(' || byte == '[' || byte == '{') pushed = mix((uint64_t)byte, text->word_before) | 1;
    if (byte == '<') {
        text->tag_state = NAME;
        text->tag = 0;
    } else if (text->tag_state == NAME) {
        if (byte == '/' && !text->tag) {
            text->tag_state = CLOSING;
        } else if (byte == '>') {
            text->tag_state = TEXT;
            pushed = text->tag;
        } else if (byte == ' ' || byte == '\n' || byte == '/') {
            text->tag_state = ATTRIBUTES;
        } else {
            text->tag = mix(text->tag, (uint64_t)byte);
        }
    } else if (byte == '>') {
        if (text->tag_state == ATTRIBUTES && text->before_last != '/') pushed = text->tag;
        popped = text->tag_state == CLOSING;
        text->tag_state = TEXT;
    }
    if (pushed) {
        text->brackets[text->bracket_count % MEMORY_BRACKETS] = pushed;
        if (text->bracket_count < 1000) text->bracket_count++;
    } else if (popped && text->bracket_count) {
        text->bracket_count--;
    }
}

static void end_field(memory_stream *text) {
    if (text->field_number < MEMORY_FIELDS) text->field_count[text->current] = text->field_number + 1;
}

static void read_byte(memory_stream *text, int byte, int32_t token) {
    int line = text->current, previous = !line, digit = byte >= '0' && byte <= '9';
    if (text->column < MEMORY_LINE) {
        text->line_token[line][text->column] = token + 1;
        text->line_byte[line][text->column] = (uint8_t)byte;
        text->line_length[line] = text->column + 1;
    }
    if (byte >= 128 || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z')) {
        text->word = mix(text->word, (uint64_t)(byte < 128 ? byte | 32 : byte));
    } else {
        if (text->word) text->word_before = text->word;
        text->word = 0;
    }
    if (digit) {
        if (!text->last_is_digit) {
            text->masked = text->masked << 8 | '0';
            text->number = 0;
        }
        text->number = text->number * 10 + (uint64_t)(byte - '0' + 1);
    } else {
        text->masked = text->masked << 8 | (uint64_t)byte;
    }
    text->line = mix(text->line, (uint64_t)byte);
    text->last_is_digit = (uint8_t)digit;
    text->before_last = text->last;
    text->last = (uint8_t)byte;
    read_bracket(text, byte);
    if (byte == '\n') {
        end_field(text);
        text->column = text->field_number = text->field_offset = 0;
        text->field = text->beginning = text->number = text->line = 0;
        text->equals_above = 1;
        text->current = previous;
        text->line_length[previous] = text->field_count[previous] = 0;
        text->field_start[previous][0] = 0;
        return;
    }
    if (text->column < 2) text->beginning = text->beginning * 256 + (uint64_t)byte;
    if (text->column < MEMORY_LINE) text->column++;
    if (byte && strchr("\t \",:;<>|", byte)) {
        end_field(text);
        if (text->field_number < MEMORY_FIELDS) text->field_number++;
        if (text->field_number < MEMORY_FIELDS) text->field_start[line][text->field_number] = text->column;
        text->field = 0;
        text->field_offset = 0;
        text->equals_above = 1;
        return;
    }
    int32_t place = MEMORY_LINE;
    if (text->field_number < text->field_count[previous])
        place = text->field_start[previous][text->field_number] + text->field_offset;
    if (place >= text->line_length[previous] || text->line_byte[previous][place] != byte) text->equals_above = 0;
    text->field = mix(text->field, (uint64_t)byte);
    if (text->field_offset < MEMORY_LINE) text->field_offset++;
}

#endif
