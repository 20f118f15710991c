#include "model.h"

#include "memory.h"
#include "products.h"

/* Output rows are computed for so many states at once. */
enum { OUTPUT_ROWS = 32 };

typedef struct {
    int32_t outputs, inputs, part_count;
    part *parts;
    float *scale, *bias; /* [outputs, filled up]; bias may be NULL */
} matrix;

typedef struct {
    matrix query_key_value, attention_out, gate_up, down;
} layer;

struct model {
    model_setup setup;
    size_t dim, slots;        /* of a head and of a window, filled up */
    size_t q_stride, y_stride; /* the widest input and output, filled up */
    float *embedding;
    int32_t *order, *leaf_of; /* [vocabulary]: the token of each leaf, in order of their numbers without a tree; back */
    matrix head;      /* its rows stand in the order of the leaves, its bias is in steps */
    layer *layers;
};

struct streams {
    const model *m;
    int32_t count, positions, active, read; /* positions: at most; read: of the last call */
    int64_t position;                       /* of the next token */
    key_part *keys;
    value_part *values;
    float *key_peaks, *value_peaks; /* [layers][count][groups][slots] */
    float *state;                   /* [count][positions + 1][hidden]: before each token; the newest is moved to the front */
    float *row, *values_row, *mixed, *factor, *angle;
    whole *q, *low, *high;
    int32_t *y, *scores, *sums;
};

/* ---- packing ---- */

static void matrix_release(matrix *a) {
    for (int32_t i = 0; a->parts && i < a->part_count; i++) released(a->parts[i].weights);
    released(a->parts), released(a->scale), released(a->bias);
}

/* order: of the rows, or NULL. */
static int matrix_pack(matrix *a, const matrix_setup *setup, const int32_t *order) {
    size_t outputs = (size_t)setup->outputs, inputs = (size_t)setup->inputs;
    a->outputs = setup->outputs, a->inputs = setup->inputs, a->part_count = setup->part_count;
    a->parts = zeroed((size_t)setup->part_count, sizeof *a->parts);
    a->scale = zeroed(filled_up(outputs), sizeof *a->scale);
    a->bias = setup->bias ? zeroed(filled_up(outputs), sizeof *a->bias) : NULL;
    int8_t *sorted = order ? zeroed(outputs * inputs, 1) : NULL;
    int fine = a->parts && a->scale && (a->bias || !setup->bias) && (sorted || !order);
    for (size_t row = 0; fine && row < outputs; row++) {
        size_t from = order ? (size_t)order[row] : row;
        a->scale[row] = setup->scale[from];
        if (setup->bias) a->bias[row] = setup->bias[from];
        if (order) memcpy(sorted + row * inputs, setup->weights + from * inputs, inputs);
    }
    for (int32_t i = 0, first = 0; fine && i < a->part_count; first += setup->part_inputs[i++]) {
        a->parts[i].outputs = a->outputs, a->parts[i].first = first, a->parts[i].inputs = setup->part_inputs[i];
        fine = part_pack(a->parts + i, order ? sorted : setup->weights, a->inputs);
    }
    released(sorted);
    return fine;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

model *model_create(const model_setup *setup) {
    model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->setup = *setup;
    size_t vocabulary = (size_t)setup->vocabulary, hidden = (size_t)setup->hidden, layers = (size_t)setup->layers;
    size_t heads = (size_t)(setup->heads * setup->dim), all = (size_t)((setup->heads + 2 * setup->groups) * setup->dim);
    m->dim = ((size_t)setup->dim + 15) / 16 * 16, m->slots = filled_up((size_t)setup->window);
    m->q_stride = filled_up(larger(larger(hidden, heads), (size_t)setup->feed)) + WIDTH; /* parts may read past the end */
    m->y_stride = filled_up(larger(larger(vocabulary, hidden), larger(all, 2 * (size_t)setup->feed)));
    m->embedding = zeroed(vocabulary * hidden, sizeof *m->embedding);
    m->layers = zeroed(layers, sizeof *m->layers);
    m->order = zeroed(vocabulary, sizeof *m->order);
    m->leaf_of = zeroed(vocabulary, sizeof *m->leaf_of);
    int fine = m->embedding && m->layers && m->order && m->leaf_of;
    if (fine) memcpy(m->embedding, setup->embedding, vocabulary * hidden * sizeof *m->embedding);
    for (size_t leaf = 0; fine && leaf < vocabulary; leaf++) {
        m->order[leaf] = setup->order ? setup->order[leaf] : (int32_t)leaf;
        m->leaf_of[m->order[leaf]] = (int32_t)leaf;
    }
    const matrix_setup *from = setup->matrices;
    fine = fine && matrix_pack(&m->head, from++, m->order);
    for (size_t i = 0; fine && i < layers; i++, from += 4) {
        layer *l = m->layers + i;
        fine = matrix_pack(&l->query_key_value, from, NULL) && matrix_pack(&l->attention_out, from + 1, NULL) &&
               matrix_pack(&l->gate_up, from + 2, NULL) && matrix_pack(&l->down, from + 3, NULL);
    }
    for (int32_t i = 0; fine && m->head.bias && i < setup->vocabulary; i++) m->head.bias[i] *= STEPS_PER_NAT;
    if (fine) return m;
    model_destroy(m);
    return NULL;
}

void model_destroy(model *m) {
    if (!m) return;
    matrix_release(&m->head);
    for (int32_t i = 0; m->layers && i < m->setup.layers; i++) {
        matrix_release(&m->layers[i].query_key_value), matrix_release(&m->layers[i].attention_out);
        matrix_release(&m->layers[i].gate_up), matrix_release(&m->layers[i].down);
    }
    released(m->layers), released(m->embedding), released(m->order), released(m->leaf_of);
    free(m);
}

/* ---- steps, one row at a time ---- */

/* The largest |x|, at least 10^-20. Numbers that are not negative are ordered as their bits are. */
static float peak_of(const float *x, size_t size) {
    int32_t largest = 0;
    float peak;
    for (size_t i = 0; i < size; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    memcpy(&peak, &largest, 4);
    return peak > 1e-20f ? peak : 1e-20f;
}

/* As integers that are ordered as the numbers are: compilers do not take the maximum of floats in any order. */
static float largest_of(const float *x, size_t size) {
    int32_t largest = INT32_MIN;
    float value;
    for (size_t i = 0; i < size; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits ^= bits >> 31 & INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    largest ^= largest >> 31 & INT32_MAX;
    memcpy(&value, &largest, 4);
    return value;
}

/* Integers of at most 127 and the peak: x ~ integers * peak / 127. */
static float quantise(const float *restrict x, size_t size, whole *restrict q) {
    float peak = peak_of(x, size), inverse = 127.0f / peak;
    for (size_t i = 0; i < size; i++) q[i] = (whole)(int32_t)rintf(x[i] * inverse);
    return peak;
}

/* Integers, and the factor that makes them x / rms(x). */
static float norm(const float *x, size_t size, double epsilon, whole *q) {
    double inverse = 127.0f / quantise(x, size, q);
    int64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += (int32_t)q[i] * q[i];
    return (float)(1.0 / sqrt((double)sum / (double)size + inverse * inverse * epsilon));
}

/* y [count][y_stride] of q [count][q_stride]; as float where a matrix has several parts, whose sums round. */
static void multiply(const streams *s, const matrix *a, size_t count) {
    const model *m = s->m;
    part_multiply(a->parts, s->q, m->q_stride, count, s->y, m->y_stride);
    if (a->part_count == 1) return;
    /* The definition adds the parts as float32, in order: so do we, in place. */
    int32_t *y = s->y, *more = s->sums;
    float sum, other;
    for (size_t row = 0; row < count; row++) {
        for (int32_t i = 0; i < a->outputs; i++) {
            sum = (float)y[row * m->y_stride + (size_t)i];
            memcpy(y + row * m->y_stride + i, &sum, 4);
        }
        for (int32_t k = 1; k < a->part_count; k++) {
            part_multiply(a->parts + k, s->q + row * m->q_stride, m->q_stride, 1, more, m->y_stride);
            for (int32_t i = 0; i < a->outputs; i++) {
                memcpy(&sum, y + row * m->y_stride + i, 4);
                other = (float)more[i];
                sum = sum + other;
                memcpy(y + row * m->y_stride + i, &sum, 4);
            }
        }
    }
}

/* to[i] = product * factor * scale (+ bias): the real values of a row. */
static void scaled(const matrix *a, const int32_t *restrict y, float factor, size_t size, float *restrict to) {
    const float *restrict scale = a->scale;
    if (a->part_count == 1) {
        for (size_t i = 0; i < size; i++) to[i] = ((float)y[i] * factor) * scale[i];
    } else {
        memcpy(to, y, size * sizeof *to);
        for (size_t i = 0; i < size; i++) to[i] = (to[i] * factor) * scale[i];
    }
    if (a->bias)
        for (size_t i = 0; i < size; i++) to[i] = to[i] + a->bias[i];
}

/* Sines and cosines of a position, [dim / 2] each: the sum of the angles of its two digits. */
static void turn(const model *m, int64_t position, float *angle) {
    size_t half = (size_t)m->setup.dim / 2;
    size_t low = (size_t)(position & ((1 << POSITION_BITS) - 1)) * half, high = (size_t)(position >> POSITION_BITS) * half;
    const double *low_sine = m->setup.rotary[0] + low, *low_cosine = m->setup.rotary[1] + low;
    const double *high_sine = m->setup.rotary[2] + high, *high_cosine = m->setup.rotary[3] + high;
    for (size_t i = 0; i < half; i++) {
        angle[i] = (float)(high_sine[i] * low_cosine[i] + high_cosine[i] * low_sine[i]);
        angle[half + i] = (float)(high_cosine[i] * low_cosine[i] - high_sine[i] * low_sine[i]);
    }
}

/* Scores to shares of about 2^16 in all, in place. steps: room. Returns the largest value peak of the window. */
static void soften(const model *m, int32_t *restrict scores, size_t seen, float unit, const float *restrict key_peaks,
                   const float *restrict value_peaks, float peak, float *restrict steps) {
    const int32_t *restrict exp = m->setup.exp;
    int64_t total = 0;
    for (size_t j = 0; j < seen; j++) steps[j] = ((float)scores[j] * unit) * key_peaks[j];
    float largest = largest_of(steps, seen);
    for (size_t j = 0; j < seen; j++) {
        float step = largest - steps[j];
        scores[j] = exp[(int32_t)rintf(step < EXP_LAST ? step : EXP_LAST)];
    }
    for (size_t j = 0; j < seen; j++) total += scores[j];
    float share = 65536.0f / ((float)total * peak);
    for (size_t j = 0; j < seen; j++) scores[j] = (int32_t)rintf((float)scores[j] * (value_peaks[j] * share));
    for (size_t j = seen; j < filled_up(seen); j++) scores[j] = 0;
}

/* One row's queries look at the window, in which its own keys and values take their place; mixed: [heads][dim]. */
static void attend(streams *s, const layer *l, int32_t index, int32_t stream, int64_t position, const int32_t *y,
                   float factor, const float *angle, float *mixed) {
    const model *m = s->m;
    const model_setup *shape = &m->setup;
    size_t dim = (size_t)shape->dim, half = dim / 2, window = (size_t)shape->window, slot = (size_t)position % window;
    size_t seen = position + 1 < shape->window ? (size_t)position + 1 : window;
    int32_t heads = shape->heads, groups = shape->groups, each = heads / groups, all = heads + 2 * groups;
    size_t first = ((size_t)index * (size_t)s->count + (size_t)stream) * (size_t)groups;
    float *row = s->row, *peaks = s->values_row;
    whole *q = s->low, *found = s->low + (size_t)heads * m->dim; /* both begin with zeros after ``dim`` */
    scaled(&l->query_key_value, y, factor, (size_t)all * dim, row);
    for (int32_t h = 0; h < all; h++, row += dim) {
        int32_t group = h - heads; /* negative for queries; then keys, then values */
        if (group < groups)
            for (size_t i = 0; i < half; i++) {
                float one = row[i], other = row[half + i];
                row[i] = one * angle[half + i] - other * angle[i];
                row[half + i] = other * angle[half + i] + one * angle[i];
            }
        float peak = quantise(row, dim, group < 0 ? q + (size_t)h * m->dim : found);
        size_t place = (first + (size_t)(group < 0 ? 0 : group % groups)) * m->slots;
        if (group < 0) {
            peaks[h] = peak;
        } else if (group < groups) {
            s->key_peaks[place + slot] = peak;
            key_put(s->keys + place * m->dim, m->dim, slot, found);
        } else {
            s->value_peaks[place + slot] = peak;
            value_put(s->values + place * m->dim, m->dim, m->slots, slot, found);
        }
    }
    whole *low = found + m->dim;
    for (int32_t group = 0; group < groups; group++) {
        size_t place = (first + (size_t)group) * m->slots;
        const float *value_peaks = s->value_peaks + place;
        float peak = peak_of(value_peaks, seen), worth = peak * shape->value_unit;
        score(each, s->keys + place * m->dim, m->dim, seen, q + (size_t)(group * each) * m->dim, s->scores, m->slots);
        for (int32_t h = 0; h < each; h++) {
            int32_t *shares = s->scores + (size_t)h * m->slots;
            float unit = peaks[group * each + h] * shape->score_unit;
            soften(m, shares, seen, unit, s->key_peaks + place, value_peaks, peak, s->row);
            mix(s->values + place * m->dim, m->dim, seen, shares, m->slots, s->sums, low, s->high);
            float *to = mixed + (size_t)(group * each + h) * dim;
            for (size_t i = 0; i < dim; i++) to[i] = (float)s->sums[i] * worth;
        }
    }
}

/* SwiGLU: silu(gate) * up. */
static void gate(const model *m, const matrix *a, const int32_t *y, float factor, float *restrict values,
                 float *restrict to) {
    size_t feed = (size_t)m->setup.feed;
    const float *restrict sigmoid = m->setup.sigmoid + SIGMOID_LIMIT;
    scaled(a, y, factor, 2 * feed, values);
    for (size_t i = 0; i < feed; i++) {
        float open = values[i], step = open * STEPS_PER_NAT;
        step = step < SIGMOID_LIMIT ? step : SIGMOID_LIMIT;
        step = step > -SIGMOID_LIMIT ? step : -SIGMOID_LIMIT;
        to[i] = (open * sigmoid[(int32_t)rintf(step)]) * values[feed + i];
    }
}

/* The residual after a product of activations that were quantised with this peak. */
static void add(const matrix *a, const int32_t *y, float factor, float *values, float *x) {
    scaled(a, y, factor, (size_t)a->outputs, values);
    for (int32_t i = 0; i < a->outputs; i++) x[i] = x[i] + values[i];
}

/* ---- streams ---- */

streams *streams_create(const model *m, int32_t count, int32_t positions) {
    streams *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    const model_setup *shape = &m->setup;
    size_t rows = (size_t)count * (size_t)positions, hidden = (size_t)shape->hidden;
    size_t slots = (size_t)shape->layers * (size_t)count * (size_t)shape->groups * m->slots;
    size_t heads = (size_t)shape->heads, outputs = larger(rows, OUTPUT_ROWS);
    s->m = m, s->count = count, s->positions = positions;
    s->keys = zeroed(slots * m->dim, sizeof *s->keys);
    s->values = zeroed(slots * m->dim, sizeof *s->values);
    s->key_peaks = zeroed(slots, sizeof *s->key_peaks);
    s->value_peaks = zeroed(slots, sizeof *s->value_peaks);
    s->state = zeroed((size_t)count * ((size_t)positions + 1) * hidden, sizeof *s->state);
    s->row = zeroed(larger(m->y_stride, m->slots), sizeof *s->row);
    s->values_row = zeroed(m->y_stride, sizeof *s->values_row);
    s->mixed = zeroed(heads * (size_t)shape->dim, sizeof *s->mixed);
    s->factor = zeroed(outputs, sizeof *s->factor);
    s->angle = zeroed((size_t)positions * m->dim, sizeof *s->angle);
    s->q = zeroed(outputs * m->q_stride, sizeof *s->q);
    s->low = zeroed((heads + 1) * m->dim + m->slots, sizeof *s->low);
    s->high = zeroed(m->slots, sizeof *s->high);
    s->y = zeroed(outputs * m->y_stride, sizeof *s->y);
    s->scores = zeroed(heads * m->slots, sizeof *s->scores);
    s->sums = zeroed(larger(m->y_stride, m->dim) + 1, sizeof *s->sums);
    if (!(s->keys && s->values && s->key_peaks && s->value_peaks && s->state && s->row && s->values_row && s->mixed &&
          s->factor && s->angle && s->q && s->low && s->high && s->y && s->scores && s->sums)) {
        streams_destroy(s);
        return NULL;
    }
    keys_clear(s->keys, slots * m->dim);
    int32_t *tokens = zeroed((size_t)count, sizeof *tokens);
    if (!tokens) {
        streams_destroy(s);
        return NULL;
    }
    for (int32_t i = 0; i < count; i++) tokens[i] = shape->start;
    streams_read(s, tokens, count, 1);
    released(tokens);
    return s;
}

void streams_destroy(streams *s) {
    if (!s) return;
    released(s->keys), released(s->values), released(s->key_peaks), released(s->value_peaks), released(s->state);
    released(s->row), released(s->values_row), released(s->mixed), released(s->factor), released(s->angle), released(s->q);
    released(s->low), released(s->high), released(s->y), released(s->scores), released(s->sums);
    free(s);
}

#define Q(row) (s->q + (row) * s->m->q_stride)
#define Y(row) (s->y + (row) * s->m->y_stride)

void streams_read(streams *s, const int32_t *tokens, int32_t active, int32_t positions) {
    const model *m = s->m;
    const model_setup *shape = &m->setup;
    size_t hidden = (size_t)shape->hidden, heads = (size_t)(shape->heads * shape->dim), feed = (size_t)shape->feed;
    size_t n = (size_t)positions, rows = (size_t)active * n, each = ((size_t)s->positions + 1) * hidden;
#define X(row) (s->state + (row) / n * each + ((row) % n + 1) * hidden)
    for (int32_t i = 0; s->read && i < s->active; i++) /* the newest state stands before the first of these tokens */
        memcpy(s->state + (size_t)i * each, s->state + (size_t)i * each + (size_t)s->read * hidden, hidden * sizeof(float));
    for (size_t row = 0; row < rows; row++)
        memcpy(X(row), m->embedding + (size_t)tokens[row] * hidden, hidden * sizeof(float));
    for (size_t i = 0; i < n; i++) turn(m, s->position + (int64_t)i, s->angle + i * m->dim);
    for (int32_t index = 0; index < shape->layers; index++) {
        const layer *l = m->layers + index;
        for (size_t row = 0; row < rows; row++) s->factor[row] = norm(X(row), hidden, shape->epsilon, Q(row));
        multiply(s, &l->query_key_value, rows);
        for (size_t row = 0; row < rows; row++) {
            attend(s, l, index, (int32_t)(row / n), s->position + (int64_t)(row % n), Y(row), s->factor[row],
                   s->angle + row % n * m->dim, s->mixed);
            s->factor[row] = quantise(s->mixed, heads, Q(row)) * shape->peak_unit;
        }
        multiply(s, &l->attention_out, rows);
        for (size_t row = 0; row < rows; row++) {
            add(&l->attention_out, Y(row), s->factor[row], s->row, X(row));
            s->factor[row] = norm(X(row), hidden, shape->epsilon, Q(row));
        }
        multiply(s, &l->gate_up, rows);
        for (size_t row = 0; row < rows; row++) {
            gate(m, &l->gate_up, Y(row), s->factor[row], s->row, s->values_row);
            s->factor[row] = quantise(s->values_row, feed, Q(row)) * shape->peak_unit;
        }
        multiply(s, &l->down, rows);
        for (size_t row = 0; row < rows; row++) add(&l->down, Y(row), s->factor[row], s->row, X(row));
    }
#undef X
    s->active = active, s->read = positions, s->position += positions;
}

/* ---- outputs ---- */

/* Products of the output matrix with up to OUTPUT_ROWS states from row ``first`` on; factors to table steps. */
static size_t head_rows(streams *s, int32_t now, size_t first) {
    const model *m = s->m;
    size_t hidden = (size_t)m->setup.hidden, each = ((size_t)s->positions + 1) * hidden, n = (size_t)(now ? 1 : s->read);
    size_t rows = (size_t)s->active * n - first, skipped = now ? (size_t)s->read * hidden : 0;
    if (rows > OUTPUT_ROWS) rows = OUTPUT_ROWS;
    for (size_t i = 0; i < rows; i++) {
        const float *x = s->state + (first + i) / n * each + (first + i) % n * hidden + skipped;
        s->factor[i] = norm(x, hidden, m->setup.epsilon, Q(i)) * STEPS_PER_NAT;
    }
    multiply(s, &m->head, rows);
    return rows;
}

/* [vocabulary] by leaf, at least 1 with sum 2^24, in place of the products. */
static void frequencies_of(streams *s, int32_t *restrict y, float factor) {
    const model *m = s->m;
    size_t vocabulary = (size_t)m->setup.vocabulary;
    const int32_t *restrict exp = m->setup.exp, *restrict order = m->order;
    float *restrict steps = s->row;
    scaled(&m->head, y, factor, vocabulary, steps);
    float largest = largest_of(steps, vocabulary);
    for (size_t i = 0; i < vocabulary; i++) {
        float step = largest - steps[i];
        y[i] = exp[(int32_t)rintf(step < EXP_LAST ? step : EXP_LAST)];
    }
    int64_t total = 0;
    int32_t best = INT32_MAX, top = exp[0]; /* the first of the largest, by the tokens' numbers */
    for (size_t i = 0; i < vocabulary; i++) total += y[i];
    for (size_t i = 0; i < vocabulary; i++) {
        int32_t token = order[i] | (y[i] == top ? 0 : INT32_MAX);
        best = token < best ? token : best;
    }
    double ratio = (double)(FREQUENCY_TOTAL - (int32_t)vocabulary) / (double)total;
    int32_t left = FREQUENCY_TOTAL;
    for (size_t i = 0; i < vocabulary; i++) y[i] = 1 + (int32_t)((double)y[i] * ratio);
    for (size_t i = 0; i < vocabulary; i++) left -= y[i];
    y[m->leaf_of[best]] += left;
}

void streams_logits(streams *s, int32_t now, float *logits) {
    const int32_t *order = s->m->order;
    size_t vocabulary = (size_t)s->m->setup.vocabulary, all = (size_t)s->active * (size_t)(now ? 1 : s->read);
    for (size_t first = 0, rows; first < all; first += rows) {
        rows = head_rows(s, now, first);
        for (size_t row = 0; row < rows; row++, logits += vocabulary) {
            scaled(&s->m->head, Y(row), s->factor[row], vocabulary, s->row);
            for (size_t i = 0; i < vocabulary; i++) logits[order[i]] = s->row[i] / STEPS_PER_NAT;
        }
    }
}

void streams_frequencies(streams *s, int32_t now, int32_t *frequencies) {
    const model *m = s->m;
    const int32_t *order = m->order;
    size_t vocabulary = (size_t)m->setup.vocabulary, all = (size_t)s->active * (size_t)(now ? 1 : s->read);
    for (size_t first = 0, rows; first < all; first += rows) {
        rows = head_rows(s, now, first);
        for (size_t row = 0; row < rows; row++, frequencies += vocabulary) {
            frequencies_of(s, Y(row), s->factor[row]);
            for (size_t i = 0; i < vocabulary; i++) frequencies[order[i]] = Y(row)[i];
        }
    }
}

void streams_intervals(streams *s, const int32_t *tokens, int32_t *below, int32_t *own) {
    const model *m = s->m;
    const int32_t *order = m->order;
    size_t vocabulary = (size_t)m->setup.vocabulary, all = (size_t)s->active * (size_t)s->read;
    for (size_t first = 0, rows; first < all; first += rows) {
        rows = head_rows(s, 0, first);
        for (size_t row = 0; row < rows; row++) {
            int32_t *y = Y(row), token = tokens[first + row], sum = 0;
            frequencies_of(s, y, s->factor[row]);
            for (size_t i = 0; i < vocabulary; i++) sum += order[i] < token ? y[i] : 0;
            below[first + row] = sum, own[first + row] = y[m->leaf_of[token]];
        }
    }
}

/* blocks[k] = the sum of the frequencies of all leaves before 64 k: what lies before any leaf is then a short sum. */
static void blocks_of(const int32_t *frequencies, size_t vocabulary, uint32_t *blocks) {
    uint32_t sum = 0;
    for (size_t first = 0; first < vocabulary; first += WIDTH) {
        size_t end = first + WIDTH < vocabulary ? first + WIDTH : vocabulary;
        uint32_t own = 0;
        *blocks++ = sum;
        for (size_t i = first; i < end; i++) own += (uint32_t)frequencies[i];
        sum += own;
    }
    *blocks = sum;
}

uint32_t sum_before(const int32_t *frequencies, const uint32_t *blocks, int32_t leaf) {
    uint32_t sum = blocks[leaf / WIDTH];
    for (int32_t i = leaf / WIDTH * WIDTH; i < leaf; i++) sum += (uint32_t)frequencies[i];
    return sum;
}

int32_t model_odds(const model *m, uint32_t right, uint32_t left) {
    return (memory_logarithm(right, m->setup.logarithm) - memory_logarithm(left, m->setup.logarithm)) >> 2;
}

int32_t model_vocabulary(const model *m) { return m->setup.vocabulary; }

int32_t model_depth(const model *m) {
    const int32_t *start = m->setup.path_start;
    int32_t depth = 0;
    for (int32_t token = 0; start && token < m->setup.vocabulary; token++)
        if (start[token + 1] - start[token] > depth) depth = start[token + 1] - start[token];
    return depth;
}

void streams_odds(streams *s, const int32_t *tokens, int32_t depth, int16_t *odds) {
    const model *m = s->m;
    size_t vocabulary = (size_t)m->setup.vocabulary, all = (size_t)s->active * (size_t)s->read;
    uint32_t *blocks = (uint32_t *)s->sums;
    for (size_t first = 0, rows; first < all; first += rows) {
        rows = head_rows(s, 0, first);
        for (size_t row = 0; row < rows; row++) {
            frequencies_of(s, Y(row), s->factor[row]);
            blocks_of(Y(row), vocabulary, blocks);
            int32_t token = tokens[first + row], start = m->setup.path_start[token], leaf = m->leaf_of[token];
            int16_t *to = odds + (first + row) * (size_t)depth;
            uint32_t below = 0, end = FREQUENCY_TOTAL; /* of the node's leaves */
            for (int32_t step = start; step < m->setup.path_start[token + 1]; step++) {
                int32_t middle_leaf = m->setup.path_middle[step];
                uint32_t middle = sum_before(Y(row), blocks, middle_leaf);
                to[step - start] = (int16_t)model_odds(m, end - middle, middle - below);
                if (leaf < middle_leaf) end = middle;
                else below = middle;
            }
        }
    }
}

void streams_distributions(streams *s, int32_t *frequencies, uint32_t *blocks) {
    size_t vocabulary = (size_t)s->m->setup.vocabulary, all = (size_t)s->active;
    for (size_t first = 0, rows; first < all; first += rows) {
        rows = head_rows(s, 1, first);
        for (size_t row = 0; row < rows; row++, frequencies += vocabulary, blocks += vocabulary / WIDTH + 2) {
            frequencies_of(s, Y(row), s->factor[row]);
            memcpy(frequencies, Y(row), vocabulary * sizeof *frequencies);
            blocks_of(frequencies, vocabulary, blocks);
        }
    }
}
