/* Decodes llmzip archives of one model:  run params.bin archive > original
 *
 * This file and params.bin are all that a receiver must hold: the parameters, and the program that runs them. It is
 * written to be read. The arithmetic is that of docs/arithmetic.md, the memory's that of docs/memory.md, the archive's
 * that of ARCHIVE_FORMAT.md; params.bin is described in writing.py, which `llmzip export` runs.
 *
 *     cc -O3 -o run run.c -lm
 *
 * C11 and libc. Every sum is over integers, everything else one IEEE-754 operation at a time, so the same bytes come out
 * on every machine: the pragmas below forbid fused multiply-add, and -ffast-math must not be given. Of libm only sqrt and
 * rint are used, whose results IEEE-754 defines. For little-endian machines on which >> of a negative number rounds
 * down, as it does with gcc, clang and MSVC. Frames that zstd coded are not decoded here: llmzip does that. */

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8; typedef uint32_t u32; typedef uint64_t u64;

enum { TOTAL = 1 << 24, EXP_LAST = 1111, SIGMOID_LIMIT = 1024, STEPS = 64, MOST_STREAMS = 256 };
enum { CONTEXTS = 16, CORRECTED = 8, COUNTERS = 17, MATCHES = 3, CANDIDATES = 1 + MATCHES, LEVELS = 33 }; /* memory */
enum { INPUTS = 1 + COUNTERS + CANDIDATES + CORRECTED + 1 + 1, SETS = 8, BIAS = 77, LIMIT = 17 * 256 };
enum { LINE_BYTES = 256, FIELDS = 32, BRACKETS = 32, SLOW = 400, FAST = 3000, WEIGHT_LIMIT = 6 << 28 };
enum { COSTS_ROW = 2 * COUNTERS, TOP_ROW = COSTS_ROW + 64, BYTE_ROW = TOP_ROW + 16 * 128, CLASSES_ROW = BYTE_ROW + 1024,
       FIELD_ROW = CLASSES_ROW + 1024, ABOVE_ROW = FIELD_ROW + FIELDS * 8, NODE_ROW = ABOVE_ROW + 256 * 3 };
enum { END = 0, MODEL = 1, ZSTD = 2, STORED = 3, INDEX = 4, MODEL_AND_MEMORY = 5, MEMORY = 6 };

static void fail(const char *message) {
    fprintf(stderr, "run: %s\n", message);
    exit(1);
}

/* What is allocated begins with zeros, at a multiple of 64 bytes, and is given back in one go when a frame is done. */
static void *blocks[1024];
static int block_count;

static void *zeroed(size_t size) {
    u8 *block = calloc(size + 64, 1);
    if (!block || block_count == 1024) fail("out of memory");
    blocks[block_count++] = block;
    return block + (64 - (uintptr_t)block % 64) % 64;
}

static void release(int kept) { while (block_count > kept) free(blocks[--block_count]); }

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* ---------------------------------------------------------------------------------------------------------- checks */

static u32 crc32(u32 crc, const u8 *data, size_t size) {
    static u32 table[256];
    for (u32 i = 0; i < 256 && !table[255]; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320 : 0);
    }
    for (crc = ~crc; size--;) crc = crc >> 8 ^ table[(crc ^ *data++) & 255];
    return ~crc;
}

static u32 crc16(const u8 *data, size_t size) {
    u32 crc = 0;
    while (size--) {
        crc ^= (u32)*data++ << 8;
        for (int bit = 0; bit < 8; bit++) crc = crc << 1 ^ (crc & 0x8000 ? 0x11021 : 0);
    }
    return crc;
}

static u64 rotated(u64 x, int by) { return x >> by | x << (64 - by); }

/* BLAKE2b with 8 bytes of output and no key (RFC 7693), as a little-endian number. */
static u64 blake2b_8(const u8 *data, size_t size) {
    static const char order[10][17] = {"0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8",
                                       "905724afe1bc683d", "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a",
                                       "6fe9b308c2d714a5", "a2847615fb9e3cd0"};
    static const u64 start[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                 0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    u64 h[8], v[16], m[16];
    memcpy(h, start, sizeof h);
    h[0] ^= 0x01010008;
    for (size_t done = 0; done == 0 || done < size; done += 128) {
        size_t here = size - done < 128 ? size - done : 128;
        memset(m, 0, sizeof m);
        if (here) memcpy(m, data + done, here);
        memcpy(v, h, sizeof h);
        memcpy(v + 8, start, sizeof start);
        v[12] ^= done + here;
        if (done + here == size) v[14] = ~v[14];
        for (int step = 0; step < 12 * 8; step++) { /* of a round: four columns, then four diagonals */
            const char *o = order[step / 8 % 10] + 2 * (step & 7); /* digits, as 'a' - '0' is 49 */
            u64 first = m[(o[0] - '0') % 39], second = m[(o[1] - '0') % 39];
            int turn = step >> 2 & 1, place = step & 3;
            u64 *a = v + place, *b = v + 4 + (place + turn) % 4, *c = v + 8 + (place + 2 * turn) % 4,
                *d = v + 12 + (place + 3 * turn) % 4;
            *a += *b + first, *d = rotated(*d ^ *a, 32), *c += *d, *b = rotated(*b ^ *c, 24);
            *a += *b + second, *d = rotated(*d ^ *a, 16), *c += *d, *b = rotated(*b ^ *c, 63);
        }
        for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
    }
    return h[0];
}

/* ------------------------------------------------------------------------------------------------------ parameters */

typedef struct {
    int rows, inputs, stride;
    const u8 *weights; /* [rows][stride]: integers + 128, since compilers know products of unsigned and signed bytes */
    const float *scale;
} Matrix;

typedef struct { Matrix qkv, out, gate_up, down; } Layer;

typedef struct { /* what the memory learns besides weights: probabilities of 2^22, final weights of which 1 is 2^20 */
    int32_t certainty[COUNTERS][32][LEVELS], hit_rate[CANDIDATES][64][8], final[8][2];
} Learnt;

typedef struct {
    int vocabulary, hidden, layer_count, heads, groups, dim, feed, window, start, byte_count; /* as in the header */
    double epsilon;
    const u8 *fingerprint, *adaptive, *bytes;
    const char *name;
    const int32_t *exp, *squash, *stretch, *logarithm, *cost;
    const int32_t *order, *middle, *left, *right, *node_row; /* of the tree of tokens; node_row: of each node, by breadth */
    const float *sigmoid, *embedding_scale;
    const double *turns; /* [24][dim]: sines and cosines of 1, 2, 4, ... positions */
    const int8_t *embedding;
    Matrix head;
    Layer *layers;
    const u32 *byte_start, *path; /* path: the answers on the way to each token, the first lowest */
    int node_rows;
    const u64 *unigram[2];                            /* what the memory begins with: with a model, alone */
    const Learnt *learnt[2];
    const int32_t (*weights[2])[INPUTS];
} Params;

typedef struct {
    const u8 *data;
    size_t size, at;
} Bytes;

static Bytes read_file(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("a file cannot be opened");
    long size = ftell(file);
    rewind(file);
    u8 *data = size < 0 ? NULL : zeroed((size_t)size);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) fail("a file cannot be read");
    fclose(file);
    return (Bytes){data, (size_t)size, 0};
}

static const void *section(Bytes *file, size_t size) {
    file->at = (file->at + 63) / 64 * 64;
    if (file->at > file->size || size > file->size - file->at) fail("params.bin is cut short");
    file->at += size;
    return file->data + file->at - size;
}

static Matrix read_matrix(Bytes *file, int rows, int inputs) {
    int stride = (inputs + 63) / 64 * 64;
    const int8_t *stored = section(file, (size_t)rows * (size_t)inputs);
    u8 *weights = memset(zeroed((size_t)rows * (size_t)stride), 128, (size_t)rows * (size_t)stride);
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < inputs; i++) weights[(size_t)row * stride + i] = (u8)(*stored++ + 128);
    }
    return (Matrix){rows, inputs, stride, weights, section(file, 4 * (size_t)rows)};
}

static Params *read_params(const char *name) {
    Bytes f = read_file(name);
    Params *p = zeroed(sizeof *p);
    const u8 *header = section(&f, 256);
    u32 versions[4];
    memcpy(versions, header + 8, 16);
    if (memcmp(header, "LLMZPARM", 8)) fail("the first file is no params.bin");
    if (versions[0] != 1 || versions[1] != 1 || versions[2] != 2) fail("params.bin is of another version than run.c");
    if (versions[3] != crc32(0, f.data + 256, f.size - 256)) fail("params.bin is damaged");
    memcpy(&p->vocabulary, header + 24, 40), memcpy(&p->epsilon, header + 64, 8);
    p->fingerprint = header + 80, p->adaptive = header + 112, p->name = (const char *)header + 144;
    size_t v = (size_t)p->vocabulary;
    int d = p->hidden, heads = p->heads * p->dim;
    p->exp = section(&f, 4 * (EXP_LAST + 1)), p->sigmoid = section(&f, 4 * (2 * SIGMOID_LIMIT + 1));
    p->squash = section(&f, 4 * (2 * LIMIT + 1)), p->stretch = section(&f, 4 * 4096);
    p->logarithm = section(&f, 4 * 2048), p->cost = section(&f, 4 * 4096);
    p->turns = section(&f, 8 * 24 * (size_t)p->dim);
    p->embedding = section(&f, v * (size_t)d), p->embedding_scale = section(&f, 4 * v);
    p->head = read_matrix(&f, p->vocabulary, d);
    p->layers = zeroed((size_t)p->layer_count * sizeof(Layer));
    for (Layer *l = p->layers; l < p->layers + p->layer_count; l++) {
        l->qkv = read_matrix(&f, heads + 2 * p->groups * p->dim, d), l->out = read_matrix(&f, d, heads);
        l->gate_up = read_matrix(&f, 2 * p->feed, d), l->down = read_matrix(&f, d, p->feed);
    }
    p->byte_start = section(&f, 4 * (v + 1)), p->bytes = section(&f, (size_t)p->byte_count);
    p->order = section(&f, 4 * v), p->middle = section(&f, 4 * (v - 1)), p->left = section(&f, 4 * (v - 1));
    p->right = section(&f, 4 * (v - 1)), p->node_row = section(&f, 4 * (v - 1)), p->path = section(&f, 4 * v);
    for (size_t i = 0; i + 1 < v; i++) p->node_rows = p->node_row[i] < p->node_rows ? p->node_rows : p->node_row[i] + 1;
    for (int alone = 0; alone < 2; alone++) {
        p->unigram[alone] = section(&f, 8 * v), p->learnt[alone] = section(&f, sizeof(Learnt));
        p->weights[alone] = section(&f, 4 * (size_t)(NODE_ROW + p->node_rows) * INPUTS);
    }
    return p;
}

/* ----------------------------------------------------------------------------------------------------------- model */

typedef struct {
    const Params *p;
    int streams, position, width, key_stride, value_stride;
    u8 *keys;                       /* [layers][streams][groups][window][key_stride], + 128; slot: position % window */
    int8_t *values;                 /* [layers][streams][groups][dim][value_stride] */
    float *key_peaks, *value_peaks; /* [layers][streams][groups][window] */
    float *x, *row, factor[MOST_STREAMS]; /* [streams][hidden], [width] */
    int8_t *q;                      /* [streams][width] */
    int32_t *y;                     /* [streams][width] */
} Model;

static Model *new_model(const Params *p, int streams) {
    Model *m = zeroed(sizeof *m);
    size_t slots = (size_t)p->layer_count * streams * p->groups * p->window, n = (size_t)streams;
    m->p = p, m->streams = streams, m->width = p->vocabulary;
    if (m->width < 2 * p->feed) m->width = 2 * p->feed;
    if (m->width < (p->heads + 2 * p->groups) * p->dim) m->width = (p->heads + 2 * p->groups) * p->dim;
    m->width += 64, m->key_stride = (p->dim + 63) / 64 * 64, m->value_stride = (p->window + 63) / 64 * 64;
    m->keys = memset(zeroed(slots * m->key_stride), 128, slots * m->key_stride);
    m->values = zeroed(slots / p->window * p->dim * m->value_stride);
    m->key_peaks = zeroed(4 * slots), m->value_peaks = zeroed(4 * slots);
    m->x = zeroed(4 * n * p->hidden), m->row = zeroed(4 * (size_t)m->width);
    m->q = zeroed(n * m->width), m->y = zeroed(4 * n * m->width);
    return m;
}

/* The largest |x|, at least 10^-20. Numbers that are not negative are ordered as their bits are. */
static float peak_of(const float *x, int size) {
    union { float value; int32_t bits; } peak = {1e-20f}, own;
    for (int i = 0; i < size; i++) own.value = fabsf(x[i]), peak.bits = own.bits > peak.bits ? own.bits : peak.bits;
    return peak.value;
}

/* Sine and cosine of the sum of two angles; each is an array of sines and then one of cosines. */
static void turn(int dim, const double *a, const double *b, double *sum) {
    for (int i = 0, j = dim / 2; j < dim; i++, j++) {
        double sine = a[i] * b[j] + a[j] * b[i];
        sum[j] = a[j] * b[j] - a[i] * b[i];
        sum[i] = sine;
    }
}

/* A position's angles: those of its two digits of 12 bits are added up bit by bit, then to each other. */
static void turn_to(const Params *p, int position, float *angle) {
    double digits[2][p->dim];
    for (int i = 0; i < p->dim; i++) digits[0][i] = digits[1][i] = i < p->dim / 2 ? 0 : 1;
    for (int bit = 0; bit < 24; bit++) {
        if (position >> bit & 1) turn(p->dim, digits[bit / 12], p->turns + bit * p->dim, digits[bit / 12]);
    }
    turn(p->dim, digits[1], digits[0], digits[0]);
    for (int i = 0; i < p->dim; i++) angle[i] = (float)digits[0][i];
}

static float quantise(const float *x, int size, int8_t *q) {
    float peak = peak_of(x, size), inverse = 127.0f / peak;
    for (int i = 0; i < size; i++) q[i] = (int8_t)(int32_t)rintf(x[i] * inverse);
    return peak;
}

static float norm(const float *x, int size, double epsilon, int8_t *q) {
    double inverse = 127.0f / quantise(x, size, q);
    int32_t sum = 0;
    for (int i = 0; i < size; i++) sum += q[i] * q[i];
    return (float)(1.0 / sqrt((double)sum / size + inverse * inverse * epsilon));
}

/* Compilers know this sum, over a multiple of 64, as one instruction of the processors that have it. */
static int32_t dot(const u8 *a, const int8_t *b, int size) {
    int32_t sum = 0;
    for (int i = 0; i < (size & ~63); i++) sum += a[i] * b[i];
    return sum;
}

static int32_t sum_of(const int8_t *q, int size) {
    int32_t sum = 0;
    for (int i = 0; i < size; i++) sum += q[i];
    return sum;
}

/* y[stream][row] = the sum of weights[row][i] * q[stream][i], for q [streams][width] and y [streams][width]. */
static void multiply(const Matrix *l, int8_t *q, int streams, int width, int32_t *y) {
    for (int s = 0; s < streams; s++) memset(q + s * width + l->inputs, 0, l->stride - l->inputs);
    for (int tile = 0; tile < l->rows; tile += 64) { /* these weights stay near while all streams use them */
        for (int s = 0; s < streams; s++) {
            int32_t excess = 128 * sum_of(q + s * width, l->inputs); /* since weights are stored + 128 */
            for (int row = tile; row < tile + 64 && row < l->rows; row++) {
                y[s * width + row] = dot(l->weights + row * l->stride, q + s * width, l->stride) - excess;
            }
        }
    }
}

/* weights[i] = 2^24 exp of how far value i, in steps, is from the largest; returns their sum. */
static int64_t weigh(const Params *p, const float *values, int size, int32_t *weights) {
    float largest = -3e38f;
    int64_t total = 0;
    for (int i = 0; i < size; i++) largest = values[i] > largest ? values[i] : largest;
    for (int i = 0; i < size; i++) {
        float step = largest - values[i];
        weights[i] = p->exp[(int)rintf(step < EXP_LAST ? step : EXP_LAST)];
        total += weights[i];
    }
    return total;
}

/* A stream's new token attends to its window; y: its queries, keys and values; first: the stream's first slot. */
static void attend(Model *m, const float *scale, size_t first, int32_t *y, float factor, float *angle, float *out) {
    const Params *p = m->p;
    int dim = p->dim, half = dim / 2, place = m->position % p->window, seen = (int)clamp(m->position + 1, 0, p->window);
    float peaks[p->heads], row[dim], unit = (float)(64 / (127.0 * 127.0 * sqrt(dim)));
    int8_t q[p->heads + 1][m->key_stride];
    u8 shares[2][m->value_stride];
    int32_t weights[p->window];
    memset(q, 0, sizeof q), memset(shares, 0, sizeof shares);
    for (int h = 0; h < p->heads + 2 * p->groups; h++) {
        int group = h - p->heads; /* not negative for keys, and then values */
        size_t slots = first + group % p->groups * p->window;
        for (int i = 0; i < dim; i++) row[i] = ((float)y[h * dim + i] * factor) * scale[h * dim + i];
        for (int i = 0; i < half && group < p->groups; i++) {
            float one = row[i], other = row[half + i];
            row[i] = one * angle[half + i] - other * angle[i];
            row[half + i] = other * angle[half + i] + one * angle[i];
        }
        float peak = quantise(row, dim, q[group < 0 ? h : p->heads]);
        int8_t *found = q[p->heads];
        if (group < 0) {
            peaks[h] = peak;
        } else if (group < p->groups) {
            m->key_peaks[slots + place] = peak;
            for (int i = 0; i < dim; i++) m->keys[(slots + place) * m->key_stride + i] = (u8)(found[i] + 128);
        } else {
            m->value_peaks[slots + place] = peak;
            for (int i = 0; i < dim; i++) m->values[(slots / p->window * dim + i) * m->value_stride + place] = found[i];
        }
    }
    for (int h = 0; h < p->heads; h++) {
        size_t slots = first + h / (p->heads / p->groups) * p->window;
        const int8_t *values = m->values + slots / p->window * dim * m->value_stride;
        float peak = peak_of(m->value_peaks + slots, seen), worth = peak * (float)(1.0 / (127 * 65536));
        int32_t excess = 128 * sum_of(q[h], dim), whole = 0;
        for (int j = 0; j < seen; j++) {
            int32_t score = dot(m->keys + (slots + j) * m->key_stride, q[h], m->key_stride) - excess;
            m->row[j] = ((float)score * (peaks[h] * unit)) * m->key_peaks[slots + j];
        }
        float share = 65536.0f / ((float)weigh(p, m->row, seen, weights) * peak);
        for (int j = 0; j < seen; j++) { /* shares in two bytes each, but for one of 65536, which at most one is */
            int part = (int)rintf((float)weights[j] * (m->value_peaks[slots + j] * share));
            if (part > 65535) whole = j + 1, part = 0;
            shares[0][j] = part & 255, shares[1][j] = part >> 8;
        }
        for (int i = 0; i < dim; i++, values += m->value_stride) {
            int32_t sum = dot(shares[0], values, m->value_stride) + 256 * dot(shares[1], values, m->value_stride);
            out[h * dim + i] = (float)(sum + (whole ? 65536 * values[whole - 1] : 0)) * worth;
        }
    }
}

/* x += y, which came from activations with this peak. */
static void add(const Matrix *l, const int32_t *y, float peak, float *x) {
    float factor = peak * (float)(1.0 / 127);
    for (int i = 0; i < l->rows; i++) x[i] = x[i] + ((float)y[i] * factor) * l->scale[i];
}

static void gate(const Params *p, const float *scale, const int32_t *y, float factor, float *out) {
    for (int i = 0; i < p->feed; i++) {
        float open = ((float)y[i] * factor) * scale[i], up = ((float)y[p->feed + i] * factor) * scale[p->feed + i];
        float step = open * STEPS < SIGMOID_LIMIT ? open * STEPS : SIGMOID_LIMIT;
        step = step > -SIGMOID_LIMIT ? step : -SIGMOID_LIMIT;
        out[i] = (open * p->sigmoid[(int)rintf(step) + SIGMOID_LIMIT]) * up;
    }
}

#define EACH for (int s = 0; s < streams; s++)
#define X (m->x + s * m->p->hidden)
#define Q (m->q + (size_t)s * m->width)
#define Y (m->y + (size_t)s * m->width)

/* Adds a token to each of the first so many streams. */
static void append(Model *m, int streams, const int32_t *tokens) {
    const Params *p = m->p;
    float angle[p->dim], mixed[p->heads * p->dim];
    turn_to(p, m->position, angle);
    EACH for (int i = 0; i < p->hidden; i++) {
        X[i] = p->embedding[(size_t)tokens[s] * p->hidden + i] * p->embedding_scale[tokens[s]];
    }
    for (int layer = 0; layer < p->layer_count; layer++) {
        const Layer *l = p->layers + layer;
        EACH m->factor[s] = norm(X, p->hidden, p->epsilon, Q);
        multiply(&l->qkv, m->q, streams, m->width, m->y);
        EACH {
            size_t slots = ((size_t)layer * m->streams + s) * p->groups * p->window;
            attend(m, l->qkv.scale, slots, Y, m->factor[s], angle, mixed);
            m->factor[s] = quantise(mixed, p->heads * p->dim, Q);
        }
        multiply(&l->out, m->q, streams, m->width, m->y);
        EACH add(&l->out, Y, m->factor[s], X), m->factor[s] = norm(X, p->hidden, p->epsilon, Q);
        multiply(&l->gate_up, m->q, streams, m->width, m->y);
        EACH gate(p, l->gate_up.scale, Y, m->factor[s], m->row), m->factor[s] = quantise(m->row, p->feed, Q);
        multiply(&l->down, m->q, streams, m->width, m->y);
        EACH add(&l->down, Y, m->factor[s], X);
    }
    m->position++;
}

/* The frequencies, at least 1 with sum 2^24, of the next token of each of the first so many streams: [][width]. */
static const int32_t *frequencies(Model *m, int streams) {
    const Params *p = m->p;
    EACH m->factor[s] = norm(X, p->hidden, p->epsilon, Q);
    multiply(&p->head, m->q, streams, m->width, m->y);
    EACH {
        float factor = m->factor[s] * STEPS;
        for (int i = 0; i < p->vocabulary; i++) m->row[i] = ((float)Y[i] * factor) * p->head.scale[i];
        double ratio = (double)(TOTAL - p->vocabulary) / (double)weigh(p, m->row, p->vocabulary, Y);
        int32_t best = 0, left = TOTAL;
        while (Y[best] != p->exp[0]) best++;
        for (int i = 0; i < p->vocabulary; i++) left -= Y[i] = 1 + (int32_t)(Y[i] * ratio);
        Y[best] += left;
    }
    return m->y;
}

/* ----------------------------------------------------------------------------------------------------- range coder */

typedef struct {
    const u8 *next, *end;
    u64 lower, range, point;
} Coder;

static u64 next_word(Coder *c) {
    u64 value = 0;
    for (int i = 0; i < 4; i++) value = value << 8 | (c->next < c->end ? *c->next++ : 0);
    return value;
}

static u64 reach(const Coder *c) { /* where in 0 .. 2^24 - 1 the payload points */
    u64 place = (c->point - c->lower) / (c->range >> 24);
    if (place >= TOTAL) fail("a payload cannot be decoded: the archive is damaged");
    return place;
}

static void narrow(Coder *c, u64 below, u64 own) {
    u64 scale = c->range >> 24;
    c->lower += scale * below, c->range = scale * own;
    if (c->range >> 32) return;
    c->lower <<= 32, c->range <<= 32;
    c->point = c->point << 32 | next_word(c);
}

/* ---------------------------------------------------------------------------------------------------------- memory */

typedef struct { int row, column, length, misses; } Match; /* where the predicted token lies; row -1 for none */
typedef struct {
    u64 word, word_before, field, beginning, masked, number, line, tag, brackets[BRACKETS];
    int bracket_count, tag_state, column, field_number, field_offset, current, last, before_last, after_digit, equals_above;
    int costs, line_length[2], field_count[2], field_start[2][FIELDS]; /* of this line and of the one above */
    int32_t line_token[2][LINE_BYTES];                                 /* token + 1 at each byte */
    u8 line_byte[2][LINE_BYTES];
    Match match[MATCHES];
} Stream;

typedef struct {
    const Params *p;
    int alone, streams, length;
    u64 mask;
    Stream *of;
    int32_t *history;                   /* [streams][length] */
    u64 *slots, *unigram;               /* [CONTEXTS][mask + 1], [node]: probability 22, correction 18, count 8, check 16 */
    u64 *followers;                     /* [mask + 1]: check 16, token 32, count 16 bits */
    u32 *heads[MATCHES];                /* [mask + 1]: place after the last occurrence, plus 1; 0 for none */
    int32_t (*weights)[INPUTS];         /* rows of all sets; 1 = 2^28 */
    int *uses;                          /* of each row */
    int32_t (*node_map)[LEVELS], (*byte_map)[LEVELS]; /* final probabilities, of 2^22 */
    Learnt learnt;
    int64_t decisions;
    int stream, position, node, depth, place, final, point, share, cost; /* this and what follows: of the token at hand */
    u64 hashes[CONTEXTS], follower_key, *line[CONTEXTS];
    u32 check[CONTEXTS];
    struct { int token, confidence, right; int32_t *held; } candidates[CANDIDATES]; /* token: -1 for none */
    struct { u64 *slot; int32_t *trust; } chosen[COUNTERS];                         /* trust: NULL where nothing was seen */
    int base[SETS], row[SETS];
    int64_t decision_rate, inputs[INPUTS], group[2], mixed;
    int32_t *map[2];
} Memory;

static u64 mix(u64 a, u64 b) {
    u64 value = a * 0x9E3779B97F4A7C15 + b + 0x632BE59BD9B4E019;
    value = (value ^ value >> 29) * 0xBF58476D1CE4E5B9;
    return value ^ value >> 32;
}

static Memory *new_memory(const Params *p, int tokens, int streams, int alone) {
    Memory *m = zeroed(sizeof *m);
    int bits = 12;
    while (bits < 19 && (12 * (int64_t)tokens - 1) >> bits) bits++;
    size_t size = (size_t)1 << bits, v = (size_t)p->vocabulary, rows = (size_t)(NODE_ROW + p->node_rows);
    m->p = p, m->alone = alone, m->streams = streams, m->length = (tokens + streams - 1) / streams, m->mask = size - 1;
    m->of = zeroed((size_t)streams * sizeof(Stream));
    for (int i = 0; i < streams * MATCHES; i++) m->of[i / MATCHES].match[i % MATCHES].row = -1;
    m->history = zeroed(4 * (size_t)streams * (size_t)m->length);
    m->slots = zeroed(8 * CONTEXTS * size), m->followers = zeroed(8 * size), m->uses = zeroed(sizeof *m->uses * rows);
    for (int k = 0; k < MATCHES; k++) m->heads[k] = zeroed(4 * size);
    m->learnt = *p->learnt[alone];
    m->unigram = memcpy(zeroed(8 * v), p->unigram[alone], 8 * v);
    m->weights = memcpy(zeroed(4 * rows * INPUTS), p->weights[alone], 4 * rows * INPUTS);
    m->node_map = zeroed(sizeof *m->node_map * (size_t)p->node_rows), m->byte_map = zeroed(sizeof *m->byte_map * 1024);
    for (int level = 0; level < LEVELS; level++) { /* they begin as what comes in */
        int32_t value = p->squash[(level - 16) * 128 + LIMIT] >> 2;
        for (int row = 0; row < p->node_rows; row++) m->node_map[row][level] = value;
        for (int row = 0; row < 1024; row++) m->byte_map[row][level] = value;
    }
    return m;
}

static int is_one_of(const char *some, int byte) { return byte && strchr(some, byte) != NULL; }

static int class_of(int byte) {
    static const char *const some[] = {",;:.", "\"'", "([{<", ")]}>", "=+*", "/\\", "-_", "\t"};
    if (byte == '\n' || byte == ' ') return byte == ' ';
    if (byte >= '0' && byte <= '9') return 2;
    if (byte >= 128 || (byte >= 'a' && byte <= 'z')) return byte >= 128 ? 5 : 3;
    if (byte >= 'A' && byte <= 'Z') return 4;
    for (int k = 0; k < 8; k++) {
        if (is_one_of(some[k], byte)) return 6 + k;
    }
    return 14;
}

/* In each context the slots of a node and of the two levels below it lie on one line of eight. */
static void find_lines(Memory *m, int node) {
    u64 salt = (u64)(node + 1) * 0x9E3779B97F4A7C15;
    for (int k = 0; k < CONTEXTS; k++) {
        u64 hash = (m->hashes[k] ^ salt) * 0xBF58476D1CE4E5B9;
        hash ^= hash >> 32;
        m->line[k] = m->slots + (size_t)k * (m->mask + 1) + (hash & m->mask & ~(u64)7);
        m->check[k] = (u32)(hash >> 40) & 0x7FFFF;
    }
    m->place = 1;
}

/* Hashes of the contexts of the next token of a stream, the tokens that they predict, and the sets of weights. */
static void open_token(Memory *m, int stream, int position) {
    const Stream *of = m->of + stream;
    const int32_t *history = m->history + (size_t)stream * (size_t)m->length + position;
    u64 last[5] = {0}, s = (u64)stream, *h = m->hashes, above = 0, three = 0, first = 0;
    int up = !of->current, column = (int)clamp(of->column, 0, LINE_BYTES - 1);
    for (int back = 1; back < 5 && back <= position; back++) last[back] = (u64)history[-back] + 1;
    m->stream = stream, m->position = position, m->node = m->depth = m->cost = 0;
    m->decision_rate = SLOW + (int64_t)(FAST - SLOW) * 2000 / (2000 + m->decisions);
    if (column < of->line_length[up]) above = (u64)of->line_token[up][column];
    int under = of->field_number < of->field_count[up]; /* whether the line above has this field, too */
    for (int i = 0, place = under ? of->field_start[up][of->field_number] + of->field_offset : 0; under && i < 3; i++, place++) {
        three = three * 256 + (place < of->line_length[up] ? of->line_byte[up][place] : 0);
    }
    first = three >> 16;
    u64 pair = mix(last[1], last[2]), skipped = mix(last[2], last[3]), triple = mix(pair, last[3]);
    u64 top = of->bracket_count ? of->brackets[(of->bracket_count - 1) % BRACKETS] : 0;
    h[0] = mix(last[1], 1), h[1] = mix(pair, 2), h[2] = mix(of->word, of->word_before + 3);
    h[3] = mix(mix(above, last[1]), 4);
    h[4] = mix(mix((u64)of->field_number, of->field), of->beginning + 5);
    h[5] = mix(of->word, 6);
    h[6] = m->alone ? mix(triple, 7) : mix(s, 9);
    h[7] = m->alone ? mix(skipped, 8) : mix(mix(of->word, s >> 2), 10);
    h[8] = m->alone ? mix(mix(triple, last[4]), 13) : mix(skipped, 8);
    h[9] = mix(of->masked & 0xFFFFFFFF, 15), h[10] = mix(of->masked, 26);
    h[11] = mix(mix(of->masked & 0xFFFFFF, s + ((u64)(position >> 9) << 20)), 39);
    h[12] = mix(mix(three, (u64)of->equals_above * 256 + (u64)of->last), 20);
    h[13] = mix(mix(of->number, of->field), 31), h[14] = mix(of->line, 17), h[15] = mix(mix(top, last[1]), 24);
    find_lines(m, 0);
    m->follower_key = mix(mix(of->masked, three), 54);
    u64 entry = m->followers[m->follower_key & m->mask];
    int known = entry >> 48 == m->follower_key >> 48 && entry & 0xFFFF;
    m->candidates[0].token = known ? (int)(entry >> 16 & 0xFFFFFFFF) : -1;
    m->candidates[0].confidence = (int)clamp(entry & 0xFFFF, 0, 63);
    for (int k = 0; k < MATCHES; k++) {
        const Match *match = of->match + k;
        int length = match->length, missed = 32 + 8 * (int)clamp(match->misses - 1, 0, 3) + (int)clamp(length, 0, 7);
        int sure = length < 16 ? length : (int)clamp(16 + ((length - 16) >> 2), 0, 31);
        m->candidates[1 + k].token = match->row < 0 ? -1 : m->history[(size_t)match->row * (size_t)m->length + match->column];
        m->candidates[1 + k].confidence = match->misses ? missed : sure;
    }
    int class = class_of(of->last), before = class_of(of->before_last), field = (int)clamp(of->field_number, 0, FIELDS - 1);
    const int base[SETS] = {0, NODE_ROW, COSTS_ROW + of->costs, TOP_ROW + class * 128, BYTE_ROW + of->last * 4,
                            CLASSES_ROW + (before * 16 + class) * 4, FIELD_ROW + field * 8,
                            ABOVE_ROW + (class * 16 + class_of((int)first)) * 3};
    memcpy(m->base, base, sizeof base);
    m->final = 0;
    if (m->candidates[2].token >= 0) m->final = 4 + (int)clamp(m->candidates[2].confidence >> 3, 0, 3);
    else if (m->candidates[1].token >= 0) m->final = 1 + (int)clamp(m->candidates[1].confidence >> 3, 0, 2);
}

/* The slot of a place on a line, or its neighbour; else that of the two which has seen less is taken over. */
static u64 *find_slot(u64 *line, u32 line_check, int place) {
    u32 check = (line_check + (u32)place * 0x9E37) & 0xFFFF;
    u64 *slot = line + ((u32)place ^ line_check >> 16), *other = line + ((u32)place ^ line_check >> 16 ^ 1);
    if ((*slot & 0xFFFF) != check) {
        if ((*other & 0xFFFF) == check) return other;
        if ((*other >> 16 & 255) < (*slot >> 16 & 255)) slot = other;
        *slot = check;
    }
    if (!(*slot >> 16 & 255)) *slot = (u64)1 << 63 | check; /* fresh: probability 1/2, no correction */
    return slot;
}

static int32_t correction_of(u64 slot) { return (int32_t)((slot >> 24 & 0x3FFFF) ^ 0x20000) - 0x20000; }
static int by_depth(int depth, int second, int third) { return depth == 0 ? 0 : depth < second ? 1 : depth < third ? 2 : 3; }

/* The probability of "right" at the node, of 2^24; odds: the model's log-odds. */
static u32 predict(Memory *m, int64_t odds) {
    const int32_t *stretch = m->p->stretch;
    int64_t *counters = m->inputs + 1, *candidates = counters + COUNTERS, *corrections = candidates + CANDIDATES;
    int seen = 0, shallow = (int)clamp(m->depth, 0, 7), quarter = by_depth(m->depth, 4, 8), third = by_depth(m->depth, 3, 7);
    m->inputs[0] = clamp(odds, -LIMIT, LIMIT), m->inputs[INPUTS - 1] = BIAS;
    for (int k = 0; k < COUNTERS; k++) {
        u64 *slot = m->chosen[k].slot = k < CONTEXTS ? find_slot(m->line[k], m->check[k], m->place) : m->unigram + m->node;
        int count = *slot >> 16 & 255, level = (int)clamp((stretch[*slot >> 52] + 2112) >> 7, 0, LEVELS - 1);
        m->chosen[k].trust = count || k == CONTEXTS ? &m->learnt.certainty[k][count][level] : NULL;
        counters[k] = m->chosen[k].trust ? stretch[*m->chosen[k].trust >> 10] : 0;
        seen += count && k < CONTEXTS;
        if (k < CORRECTED || k == CONTEXTS) corrections[k < CORRECTED ? k : CORRECTED] = (correction_of(*slot) + 8) >> 4;
    }
    for (int k = 0; k < CANDIDATES; k++) {
        int token = m->candidates[k].token;
        candidates[k] = 0;
        if (token < 0) continue;
        m->candidates[k].held = &m->learnt.hit_rate[k][m->candidates[k].confidence][shallow];
        m->candidates[k].right = m->p->path[token] >> m->depth & 1;
        int value = stretch[*m->candidates[k].held >> 10];
        candidates[k] = m->candidates[k].right ? value : -value;
    }
    int node_row = m->p->node_row[m->node];
    const int offset[SETS] = {seen + (m->depth ? 0 : COUNTERS), node_row, 0, node_row < 127 ? node_row : 127,
                              quarter, third, shallow, quarter < 2 ? quarter : 2};
    for (int set = 0; set < SETS; set++) m->row[set] = m->base[set] + offset[set];
    int64_t both = 1 << 19;
    for (int group = 0; group < 2; group++) { /* four sets are summed up, and learn from the error of the sum */
        int64_t sum = 2048;
        for (int set = 4 * group; set < 4 * group + 4; set++) {
            const int32_t *weights = m->weights[m->row[set]];
            for (int i = 0; i < INPUTS; i++) sum += (weights[i] >> 16) * m->inputs[i];
        }
        m->group[group] = clamp(sum >> 12, -LIMIT, LIMIT);
        both += m->learnt.final[m->final][group] * m->group[group];
    }
    m->mixed = clamp(both >> 20, -LIMIT, LIMIT), m->point = (int)clamp(m->mixed + 2048, 0, 4095);
    m->map[0] = m->node_map[node_row] + (m->point >> 7);
    m->map[1] = m->byte_map[m->of[m->stream].last * 4 + third] + (m->point >> 7);
    int64_t part = m->point & 127, mapped = 0;
    for (int k = 0; k < 2; k++) mapped += m->map[k][0] * (128 - part) + m->map[k][1] * part;
    return (u32)(m->share = (int)clamp((m->p->squash[m->mixed + LIMIT] >> 1) + (mapped >> 7), 64, TOTAL - 64));
}

/* Moves everything that took part in the last prediction towards the answer; returns the next node, or ~token. */
static int learn(Memory *m, int right) {
    const int32_t *squash = m->p->squash + LIMIT;
    int64_t answer = (int64_t)right << 24, error = (answer - squash[m->mixed]) >> 8, goal = right ? (1 << 22) - 1 : 0;
    m->cost += m->p->cost[(right ? m->share : TOTAL - m->share) >> 12];
    for (int group = 0; group < 2; group++) {
        int32_t *final = &m->learnt.final[m->final][group];
        *final = (int32_t)clamp(*final + ((m->group[group] * error * 60 + (1 << 19)) >> 20), -(1 << 24), 1 << 24);
        int64_t own = answer - squash[m->group[group]];
        for (int set = 4 * group; set < 4 * group + 4; set++) {
            int *uses = m->uses + m->row[set];
            int64_t rate = SLOW + (FAST - SLOW) * 60 / (60 + *uses);
            int64_t step = (own * (rate > m->decision_rate ? rate : m->decision_rate) + (1 << 21)) >> 22;
            int32_t *weights = m->weights[m->row[set]];
            for (int i = 0; i < INPUTS; i++) weights[i] = (int32_t)clamp(weights[i] + m->inputs[i] * step, -WEIGHT_LIMIT, WEIGHT_LIMIT);
            *uses += *uses < 4095;
        }
    }
    for (int i = 0, part = m->point & 127; i < 4; i++) {
        int32_t *value = m->map[i / 2] + i % 2;
        *value += (int32_t)(((goal - *value) * ((i % 2 ? part : 128 - part) * 5) + 16384) >> 15);
    }
    for (int k = 0; k < COUNTERS; k++) {
        u64 slot = *m->chosen[k].slot;
        int count = slot >> 16 & 255, divisor = 2 * count + 3, rate = (2 * 65536 + count + 1) / divisor;
        int64_t probability = (int64_t)(slot >> 42), correction = 0;
        if (m->chosen[k].trust) *m->chosen[k].trust += (int32_t)((goal - *m->chosen[k].trust + 64) >> 7);
        if (k < CORRECTED || k == CONTEXTS) {
            correction = correction_of(slot);
            int64_t wrong = answer - squash[clamp(m->inputs[0] + ((correction + 8) >> 4), -LIMIT, LIMIT)];
            correction += (wrong * ((32000 + count + 1) / divisor) + (1 << 23)) >> 24;
            correction = clamp(correction, -16 * LIMIT, 16 * LIMIT);
        }
        probability += ((goal - probability) * rate + 32768) >> 16;
        count = count < 30 ? count + 1 : 30;
        *m->chosen[k].slot = (u64)probability << 42 | ((u64)correction & 0x3FFFF) << 24 | (u64)count << 16 | (slot & 0xFFFF);
    }
    for (int k = 0; k < CANDIDATES; k++) {
        if (m->candidates[k].token < 0) continue;
        int holds = m->candidates[k].right == right;
        *m->candidates[k].held += (int32_t)(((holds ? (1 << 22) - 1 : 0) - *m->candidates[k].held + 64) >> 7);
        if (!holds) m->candidates[k].token = -1;
    }
    m->node = (right ? m->p->right : m->p->left)[m->node], m->place = 2 * m->place + right, m->decisions++, m->depth++;
    if (m->node >= 0 && m->depth % 3 == 0) find_lines(m, m->node);
    return m->node;
}

/* Follows a match of a stream through a miss or two, or looks for one that ends here. */
static void follow_match(Memory *m, Match *match, int least, u32 *head) {
    int64_t length = m->length, here = m->stream * length + m->position;
    const int32_t *history = m->history, *newest = history + here;
    int hit = 0;
    if (match->row >= 0) {
        const int32_t *there = history + match->row * length + match->column;
        hit = *there == *newest;
        if (hit) {
            match->misses = ++match->length >= 16 ? 0 : match->misses;
        } else if (match->misses < 16 && (match->misses || match->length >= least)) {
            int skips = match->misses && match->column + 1 < length && there[1] == *newest;
            int stays = match->misses && !skips && match->column > 0 && there[-1] == *newest;
            match->column += skips - stays, match->length = skips || stays, match->misses += !skips && !stays;
        } else {
            match->row = -1;
        }
        match->column++;
    }
    if (head) {
        int64_t place = (int64_t)*head - 1, own = match->row < 0 ? -1 : match->row * length + match->column, same = 0;
        if (place > 0 && (own < 0 || (match->misses && (!hit || place != own)))) {
            int64_t most = clamp((place - 1) % length, 0, m->position < 31 ? m->position : 31);
            while (same <= most && history[place - 1 - same] == newest[-same]) same++;
            if (same >= least) *match = (Match){(int)((place - 1) / length), (int)((place - 1) % length) + 1, (int)same, 0};
        }
        *head = (u32)(here + 2);
    }
    int column = match->column; /* what lies there must have been coded */
    if (match->row < 0 || column >= length || column > m->position || (column == m->position && match->row > m->stream)) {
        *match = (Match){-1, column, 0, 0};
    }
}

/* Brackets, and tags as brackets. */
static void read_bracket(Stream *of, int byte) {
    enum { TEXT, NAME, ATTRIBUTES, CLOSING };
    u64 pushed = is_one_of("([{", byte) ? mix((u64)byte, of->word_before) | 1 : 0;
    int popped = is_one_of(")]}", byte);
    if (byte == '<') {
        of->tag_state = NAME, of->tag = 0;
    } else if (of->tag_state == NAME) {
        if (byte == '/' && !of->tag) of->tag_state = CLOSING;
        else if (byte == '>') of->tag_state = TEXT, pushed = of->tag;
        else if (is_one_of(" \n/", byte)) of->tag_state = ATTRIBUTES;
        else of->tag = mix(of->tag, (u64)byte);
    } else if (byte == '>') {
        if (of->tag_state == ATTRIBUTES && of->before_last != '/') pushed = of->tag;
        popped = of->tag_state == CLOSING, of->tag_state = TEXT;
    }
    if (pushed) of->brackets[of->bracket_count % BRACKETS] = pushed, of->bracket_count += of->bracket_count < 1000;
    else if (popped && of->bracket_count) of->bracket_count--;
}

static void read_byte(Stream *of, int byte, int token) {
    int line = of->current, up = !line, digit = byte >= '0' && byte <= '9', lower = byte | 32, place = LINE_BYTES;
    int ends = byte == '\n' || is_one_of("\t \",:;<>|", byte);
    int letter = byte >= 128 || (lower >= 'a' && lower <= 'z');
    if (of->column < LINE_BYTES) {
        of->line_token[line][of->column] = token + 1, of->line_byte[line][of->column] = (u8)byte;
        of->line_length[line] = of->column + 1;
    }
    if (!letter && of->word) of->word_before = of->word;
    of->word = letter ? mix(of->word, (u64)(byte < 128 ? lower : byte)) : 0;
    if (!digit || !of->after_digit) of->masked = of->masked << 8 | (u64)(digit ? '0' : byte); /* a number is one 0 */
    if (digit) of->number = (of->after_digit ? of->number : 0) * 10 + (u64)(byte - '0' + 1);
    of->line = mix(of->line, (u64)byte);
    of->after_digit = digit, of->before_last = of->last, of->last = byte;
    read_bracket(of, byte);
    if (ends && of->field_number < FIELDS) of->field_count[line] = of->field_number + 1;
    if (byte == '\n') {
        of->column = of->field_number = of->line_length[up] = of->field_count[up] = of->field_start[up][0] = 0;
        of->beginning = of->number = of->line = 0, of->current = up;
    } else {
        if (of->column < 2) of->beginning = of->beginning * 256 + (u64)byte;
        of->column += of->column < LINE_BYTES;
        if (ends && of->field_number < FIELDS && ++of->field_number < FIELDS) of->field_start[line][of->field_number] = of->column;
    }
    if (of->field_number < of->field_count[up]) place = of->field_start[up][of->field_number] + of->field_offset;
    of->equals_above = ends || (of->equals_above && place < of->line_length[up] && of->line_byte[up][place] == byte);
    of->field = ends ? 0 : mix(of->field, (u64)byte);
    of->field_offset = ends ? 0 : of->field_offset + (of->field_offset < LINE_BYTES);
}

/* Takes the token into the history, the followers, the matches and the line and word at hand. */
static void close_token(Memory *m, int token) {
    Stream *of = m->of + m->stream;
    int32_t *newest = m->history + (size_t)m->stream * (size_t)m->length + m->position;
    u64 *entry = m->followers + (m->follower_key & m->mask), tag = m->follower_key >> 48;
    u64 kept = *entry >> 16 & 0xFFFFFFFF, count = *entry & 0xFFFF, same = kept == (u64)token, key = 99;
    *newest = token;
    if (*entry >> 48 == tag && count && (same || count > 4)) count = !same ? count >> 2 : count < 250 ? count + 1 : 250;
    else kept = (u64)token, count = 1;
    *entry = tag << 48 | kept << 16 | count;
    for (int k = 0, back = 0; k < MATCHES; k++) {
        int least = 4 << k, is_long = m->position + 1 >= least;
        for (; is_long && back < least; back++) key = mix(key, (u64)newest[-back]);
        follow_match(m, of->match + k, least, is_long ? m->heads[k] + (key & m->mask) : NULL);
    }
    of->costs = (of->costs << 2 | (m->cost < 77 ? 0 : m->cost < 384 ? 1 : m->cost < 1280 ? 2 : 3)) & 63;
    for (u32 i = m->p->byte_start[token]; i < m->p->byte_start[token + 1]; i++) read_byte(of, m->p->bytes[i], token);
}

/* 1024 ln(value) for 1 <= value <= 2^24, up to a constant. */
static int64_t logarithm(const Params *p, u32 value) {
    int bits = 1;
    while (value >> bits) bits++;
    return (int64_t)bits * 709783 / 1000 + p->logarithm[((u64)value << 12 >> bits) - 2048];
}

/* The next token of a stream; frequency: the model's, not looked at where the memory is alone. */
static int read_token(Memory *m, Coder *coder, int stream, int position, const int32_t *frequency) {
    const Params *p = m->p;
    int node = 0, leaf = 0;
    u32 whole = TOTAL, below = 0;
    int64_t odds = 0;
    for (open_token(m, stream, position); node >= 0;) {
        int middle = p->middle[node];
        if (!m->alone) {
            below = 0;
            for (int i = leaf; i < middle; i++) below += (u32)frequency[p->order[i]];
            odds = (logarithm(p, whole - below) - logarithm(p, below)) >> 2;
        }
        u32 share = predict(m, odds);
        int right = reach(coder) >= TOTAL - share;
        narrow(coder, right ? TOTAL - share : 0, right ? share : TOTAL - share);
        leaf = right ? middle : leaf, whole = right ? whole - below : below;
        node = learn(m, right);
    }
    close_token(m, ~node);
    return ~node;
}

/* --------------------------------------------------------------------------------------------------------- archive */

static const u8 *take(Bytes *b, size_t size) {
    if (size > b->size - b->at) fail("the archive is cut short");
    b->at += size;
    return b->data + b->at - size;
}

static u32 number32(const u8 *data) { return data[0] | data[1] << 8 | data[2] << 16 | (u32)data[3] << 24; }

static u32 varint(Bytes *b, u64 low, u64 high) {
    u64 value = 0;
    for (int shift = 0, byte = 128; byte & 128; shift += 7) {
        byte = *take(b, 1);
        value |= (u64)(byte & 127) << shift;
        if (shift > 28 || (shift && !byte)) fail("a number is not in its shortest form: the archive is damaged");
    }
    if (value < low || value > high) fail("a number is out of range: the archive is damaged");
    return (u32)value;
}

/* Decodes a payload of tokens to exactly size bytes. */
static void read_tokens(const Params *p, int kind, Bytes payload, int count, int streams, u8 *text, u32 size) {
    int kept = block_count, shortest = count / streams, longer = count % streams, length = shortest + (longer > 0);
    int32_t *tokens = zeroed(4 * (size_t)streams * length), newest[MOST_STREAMS];
    Model *model = kind == MEMORY ? NULL : new_model(p, streams);
    Memory *memory = kind == MODEL ? NULL : new_memory(p, count, streams, kind == MEMORY);
    Coder coder = {payload.data, payload.data + payload.size, 0, ~(u64)0, 0};
    coder.point = next_word(&coder) << 32;
    coder.point |= next_word(&coder);
    for (int s = 0; s < streams; s++) newest[s] = p->start;
    for (int position = 0; position < length; position++) {
        int active = position < shortest ? streams : longer;
        const int32_t *f = NULL;
        if (model) append(model, active, newest), f = frequencies(model, active);
        for (int s = 0; s < active; s++, f += model ? model->width : 0) {
            if (memory) {
                newest[s] = read_token(memory, &coder, s, position, f);
            } else {
                u64 place = reach(&coder), below = 0;
                for (newest[s] = 0; below + (u64)f[newest[s]] <= place; newest[s]++) below += (u64)f[newest[s]];
                narrow(&coder, below, (u64)f[newest[s]]);
            }
            tokens[(size_t)s * length + position] = newest[s];
        }
    }
    for (int s = 0; s < streams; s++) {
        for (int i = 0; i < shortest + (s < longer); i++) {
            const u32 *start = p->byte_start + tokens[(size_t)s * length + i];
            if (start[1] - start[0] > size) fail("a frame has too many bytes: it is damaged");
            memcpy(text, p->bytes + start[0], start[1] - start[0]);
            text += start[1] - start[0], size -= start[1] - start[0];
        }
    }
    if (size) fail("a frame has too few bytes: it is damaged");
    release(kept);
}

/* The rest of the index at the end of a member. sizes: of each frame in the archive and decoded. */
static void check_index(Bytes *b, size_t begin, u32 (*sizes)[2], u32 count, const u8 *text, size_t size) {
    int fits = varint(b, 2, 1 << 24) == count;
    for (u32 i = 0; i < count && fits; i++) fits = varint(b, 1, (1 << 24) + (1 << 16) + 64) == sizes[i][0];
    for (u32 i = 0; i < count && fits; i++) fits = varint(b, 1, 1 << 24) == sizes[i][1];
    if (!fits) fail("the index does not fit the frames: the archive is damaged");
    u64 digest = blake2b_8(text, size);
    const u8 *end = take(b, 16);
    if (number32(end + 8) != crc32(0, b->data + begin, b->at - 8 - begin) || number32(end + 12) != b->at - begin) {
        fail("the index is damaged");
    }
    if (number32(end) != (u32)digest || number32(end + 4) != (u32)(digest >> 32)) fail("the digest is wrong");
}

/* Decodes a payload of any kind to the text, of exactly size bytes. */
static void read_payload(const Params *p, int kind, int adaptive, Bytes payload, u32 tokens, u32 streams, u8 *text, u32 size) {
    int has_tokens = kind == MODEL || kind == MODEL_AND_MEMORY || kind == MEMORY;
    if (kind == ZSTD) fail("a frame is compressed with zstd, which this program does not decode: use llmzip");
    if (kind != STORED && !has_tokens) fail("a frame is of a kind that this program does not know");
    if (adaptive && has_tokens && kind != MEMORY) fail("a frame needs a model and there is none: the archive is damaged");
    if (!has_tokens && payload.size != size) fail("a stored frame has another size: it is damaged");
    if (has_tokens) read_tokens(p, kind, payload, (int)tokens, (int)streams, text, size);
    else memcpy(text, payload.data, size);
}

static const char other_model[] = "the archive was made with another model, or by an earlier llmzip";

/* A member of one small frame, after its first byte. */
static void read_short_member(const Params *p, Bytes *b) {
    const u8 *head = take(b, 3);
    int kind = head[0] & 7, adaptive = head[0] < 8;
    if (memcmp(head + 1, adaptive ? p->adaptive : p->fingerprint, 2)) fail(other_model);
    u32 original = varint(b, kind != STORED, 65535), packed = varint(b, 0, 65535), tokens = 0;
    if (kind != STORED && kind != ZSTD) tokens = varint(b, 1, original);
    u32 fields = (u32)(b->data + b->at - head + 1), check = number32(take(b, 4));
    const u8 *payload = take(b, packed);
    u8 *text = malloc(original + 1);
    if (!text) fail("out of memory");
    read_payload(p, kind, adaptive, (Bytes){payload, packed, 0}, tokens, 1, text, original);
    if (check != crc32(crc32(crc32(0, text, original), head - 1, fields), payload, packed)) fail("the archive is damaged");
    if (fwrite(text, 1, original, stdout) != original) fail("the output cannot be written");
    free(text);
}

static void read_member(const Params *p, Bytes *b) {
    size_t begin = b->at, size = 0;
    const u8 *head = take(b, 1);
    if (*head == 0xF9) {
        read_short_member(p, b);
        return;
    }
    if (*head != 0xF8 || memcmp(take(b, 2), "lz", 2)) fail(begin ? "something follows the archive" : "this is no llmzip archive");
    int version = *take(b, 1), name_size = *take(b, 1);
    if (version < 1 || version > 4) fail("the format's version is newer than this program, or 0");
    const u8 *name = take(b, (size_t)name_size), *fingerprint = take(b, 6);
    if (version >= 3 && name_size >= 6 && !memcmp(name, "float/", 6)) take(b, varint(b, 0, 1024));
    u32 check = crc16(head, (size_t)(b->data + b->at - head));
    const u8 *stated = take(b, 2);
    if (!name_size || check != (u32)(stated[0] | stated[1] << 8)) fail("the header is damaged");
    int adaptive = name_size == 8 && !memcmp(name, "adaptive", 8);
    u32 (*sizes)[2] = NULL, count = 0;
    u8 *text = NULL;
    for (;; count++) {
        size_t start = b->at;
        int kind = *take(b, 1), has_tokens = kind != STORED && kind != ZSTD;
        if (kind == END && count > 1) fail("the index is missing");
        if (kind == INDEX) check_index(b, start, sizes, count, text, size);
        if (kind == INDEX || kind == END) break;
        u32 original = varint(b, 1, has_tokens ? 1 << 21 : 1 << 24), packed = varint(b, 0, (1 << 24) + (1 << 16));
        u32 tokens = has_tokens ? varint(b, 1, original) : 0;
        u32 streams = has_tokens ? varint(b, 1, tokens < MOST_STREAMS ? tokens : MOST_STREAMS) : 0;
        u32 fields = (u32)(b->at - start);
        const u8 *checks = take(b, 8), *payload = take(b, packed);
        if (number32(checks) != crc32(crc32(0, b->data + start, fields), payload, packed)) fail("a frame is damaged");
        if (has_tokens && memcmp(fingerprint, adaptive ? p->adaptive : p->fingerprint, 6)) fail(other_model);
        text = realloc(text, size + original), sizes = realloc(sizes, (count + 1) * sizeof *sizes);
        if (!text || !sizes) fail("out of memory");
        read_payload(p, kind, adaptive, (Bytes){payload, packed, 0}, tokens, streams, text + size, original);
        if (number32(checks + 4) != crc32(0, text + size, original)) fail("a frame decodes to something else");
        if (fwrite(text + size, 1, original, stdout) != original) fail("the output cannot be written");
        sizes[count][0] = (u32)(b->at - start), sizes[count][1] = original;
        size += original;
    }
    free(text), free(sizes);
}

int main(int count, char **arguments) {
    if (count != 3) fail("usage: run params.bin archive > original");
    Params *p = read_params(arguments[1]);
    Bytes archive = read_file(arguments[2]);
    do read_member(p, &archive);
    while (archive.at < archive.size);
    if (fflush(stdout)) fail("the output cannot be written");
    return 0;
}
