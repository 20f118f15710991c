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

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

enum { TOTAL = 1 << 24, EXP_LAST = 1111, SIGMOID_LIMIT = 1024, STEPS = 64, MOST_STREAMS = 256 };
enum { CONTEXTS = 8, COUNTERS = 9, PREDICTIONS = 4, INPUTS = 1 + COUNTERS + PREDICTIONS + COUNTERS };
enum { WEIGHT_SETS = 128, LINE_BYTES = 256, LIMIT = 17 * 256 };
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

static void release(int kept) {
    while (block_count > kept) free(blocks[--block_count]);
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }
static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

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

typedef struct { /* what is learnt; weights: 1 = 2^16; the rest: of 2^20 */
    int32_t certainty[COUNTERS][32][33], hit_rate[PREDICTIONS][64][8], final[8][2], sets[WEIGHT_SETS][INPUTS];
} Learnt;

typedef struct {
    int vocabulary, hidden, layer_count, heads, groups, dim, feed, window, start, byte_count; /* as in the header */
    double epsilon;
    const u8 *fingerprint, *adaptive, *bytes;
    const char *name;
    const int32_t *exp, *squash, *logarithm;
    const float *sigmoid, *embedding_scale;
    const double *turns; /* [24][dim]: sines and cosines of 1, 2, 4, ... positions */
    const int8_t *embedding;
    Matrix head;
    Layer *layers;
    const u32 *byte_start;
    int32_t *order, *middle, *left, *right, *stretch; /* of the tree; the inverse of squash */
    u32 *path;                                        /* the answers on the way to each token, the first lowest */
    const u64 *unigram[2];                            /* what the memory begins with: with a model, alone */
    const Learnt *learnt[2];
    const int32_t (*nodes[2])[INPUTS];
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

static const Params *sorted_for; /* qsort has no other way to tell */

static int by_bytes(const void *one, const void *other) {
    int32_t a = *(const int32_t *)one, b = *(const int32_t *)other;
    const u32 *start = sorted_for->byte_start;
    u32 size = start[a + 1] - start[a], other_size = start[b + 1] - start[b];
    int order = memcmp(sorted_for->bytes + start[a], sorted_for->bytes + start[b], size < other_size ? size : other_size);
    if (order) return order;
    return size != other_size ? (size < other_size ? -1 : 1) : (a > b) - (a < b);
}

/* Node by node, depth first: the leaves [first, end) are cut where that comes nearest to half of their weight. */
static int32_t grow(Params *p, const int64_t *total, int first, int end, u32 answers, int depth, int *count) {
    if (end - first == 1) {
        p->path[p->order[first]] = answers;
        return ~p->order[first];
    }
    if (depth == 32) fail("the tree of tokens is too deep");
    int cut = first + 1, node = (*count)++;
    int64_t whole = total[first] + total[end];
    while (cut + 1 < end && llabs(2 * total[cut + 1] - whole) < llabs(2 * total[cut] - whole)) cut++;
    p->middle[node] = cut;
    p->left[node] = grow(p, total, first, cut, answers, depth + 1, count);
    p->right[node] = grow(p, total, cut, end, answers | (u32)1 << depth, depth + 1, count);
    return node;
}

static void build_tree(Params *p) {
    size_t v = (size_t)p->vocabulary;
    int64_t *total = zeroed(8 * (v + 1));
    int count = 0;
    p->order = zeroed(4 * v), p->middle = zeroed(4 * v), p->left = zeroed(4 * v), p->right = zeroed(4 * v);
    p->path = zeroed(4 * v);
    for (int i = 0; i < p->vocabulary; i++) p->order[i] = i;
    sorted_for = p;
    qsort(p->order, v, sizeof *p->order, by_bytes);
    for (size_t i = 0; i < v; i++) total[i + 1] = total[i] + (1 << 30) / (p->order[i] + 50);
    grow(p, total, 0, p->vocabulary, 0, 0, &count);
}

static Params *read_params(const char *name) {
    Bytes f = read_file(name);
    Params *p = zeroed(sizeof *p);
    const u8 *header = section(&f, 256);
    u32 versions[4];
    memcpy(versions, header + 8, 16);
    if (memcmp(header, "LLMZPARM", 8)) fail("the first file is no params.bin");
    if (versions[0] != 1 || versions[1] != 1 || versions[2] != 1) fail("params.bin is of another version than run.c");
    if (versions[3] != crc32(0, f.data + 256, f.size - 256)) fail("params.bin is damaged");
    memcpy(&p->vocabulary, header + 24, 40), memcpy(&p->epsilon, header + 64, 8);
    p->fingerprint = header + 80, p->adaptive = header + 112, p->name = (const char *)header + 144;
    size_t v = (size_t)p->vocabulary;
    int d = p->hidden, heads = p->heads * p->dim;
    p->exp = section(&f, 4 * (EXP_LAST + 1)), p->sigmoid = section(&f, 4 * (2 * SIGMOID_LIMIT + 1));
    p->squash = section(&f, 4 * (2 * LIMIT + 1)), p->logarithm = section(&f, 4 * 2048);
    p->turns = section(&f, 8 * 24 * (size_t)p->dim);
    p->embedding = section(&f, v * (size_t)d), p->embedding_scale = section(&f, 4 * v);
    p->head = read_matrix(&f, p->vocabulary, d);
    p->layers = zeroed((size_t)p->layer_count * sizeof(Layer));
    for (Layer *l = p->layers; l < p->layers + p->layer_count; l++) {
        l->qkv = read_matrix(&f, heads + 2 * p->groups * p->dim, d), l->out = read_matrix(&f, d, heads);
        l->gate_up = read_matrix(&f, 2 * p->feed, d), l->down = read_matrix(&f, d, p->feed);
    }
    p->byte_start = section(&f, 4 * (v + 1)), p->bytes = section(&f, (size_t)p->byte_count);
    build_tree(p);
    p->stretch = zeroed(4 * 4096);
    for (int i = 0, odds = -LIMIT; i < 4096; p->stretch[i++] = odds) {
        while (p->squash[odds + LIMIT] < (2 * i + 1) << 11) odds++;
    }
    for (int alone = 0; alone < 2; alone++) {
        p->unigram[alone] = section(&f, 8 * v), p->learnt[alone] = section(&f, sizeof(Learnt));
        p->nodes[alone] = section(&f, 4 * v * INPUTS);
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

typedef struct {
    u64 word, word_before, field, beginning;
    int column, field_number, current;
    int32_t lines[2][LINE_BYTES]; /* token + 1 at each column of this line and of the one above */
    int64_t match_place[2], match_length[2];
} Stream;

typedef struct {
    const Params *p;
    int alone, streams, length;
    u64 mask;
    Stream *of;
    int32_t *history;       /* [streams][length] */
    u64 *slots, *unigram;   /* [CONTEXTS][mask + 1], [node]: probability 16, correction 16, 8, count 8, check 16 bits */
    u64 *followers;         /* [2][mask + 1]: check 16, free 8, token 32, count 8 bits */
    int64_t *match_heads;   /* [2][mask + 1]: place after the last occurrence, -1 for none */
    int32_t (*nodes)[INPUTS];
    Learnt learnt;
    int64_t decisions;
    u64 hashes[CONTEXTS + 2]; /* this and what follows: of the token at hand */
    struct { int token, confidence, level, right; } candidates[PREDICTIONS]; /* token: -1 for none */
    struct { u64 *slot; int takes_part, level; } chosen[COUNTERS];
    int64_t inputs[INPUTS], mixed[2], result;
    int32_t *own[2], *final;
} Memory;

static Memory *new_memory(const Params *p, int tokens, int streams, int alone) {
    Memory *m = zeroed(sizeof *m);
    int bits = 12;
    while (bits < 20 && (12 * (int64_t)tokens - 1) >> bits) bits++;
    size_t size = (size_t)1 << bits, v = p->vocabulary;
    m->p = p, m->alone = alone, m->streams = streams, m->length = (tokens + streams - 1) / streams, m->mask = size - 1;
    m->of = zeroed(streams * sizeof(Stream));
    for (int s = 0; s < streams; s++) m->of[s].match_place[0] = m->of[s].match_place[1] = -1;
    m->history = zeroed(4 * (size_t)streams * m->length);
    m->slots = zeroed(8 * CONTEXTS * size), m->followers = zeroed(8 * 2 * size);
    m->match_heads = memset(zeroed(8 * 2 * size), -1, 8 * 2 * size);
    m->learnt = *p->learnt[alone];
    m->unigram = memcpy(zeroed(8 * v), p->unigram[alone], 8 * v);
    m->nodes = memcpy(zeroed(4 * v * INPUTS), p->nodes[alone], 4 * v * INPUTS);
    return m;
}

static u64 mix(u64 a, u64 b) {
    u64 value = a * 0x9E3779B97F4A7C15 + b + 0x632BE59BD9B4E019;
    value = (value ^ value >> 29) * 0xBF58476D1CE4E5B9;
    return value ^ value >> 32;
}

/* Hashes of the contexts of the next token of a stream, and the tokens that they predict. */
static void open_token(Memory *m, int stream, int position) {
    const Stream *of = m->of + stream;
    const int32_t *history = m->history + (size_t)stream * m->length + position;
    u64 last[7], *h = m->hashes;
    for (int back = 1; back < 7; back++) last[back] = back <= position ? (u64)history[-back] + 1 : 0;
    u64 pair = mix(last[1], last[2]), triple = mix(pair, last[3]), fourfold = mix(triple, last[4]);
    u64 above = (u64)of->lines[!of->current][clamp(of->column, 0, LINE_BYTES - 1)];
    h[0] = mix(last[1], 1);
    h[1] = mix(pair, 2);
    h[2] = mix(of->word, of->word_before + 3);
    h[3] = mix(mix(above, last[1]), 4);
    h[4] = mix(mix((u64)of->field_number, of->field), of->beginning + 5);
    h[5] = mix(of->word, 6);
    h[6] = m->alone ? mix(triple, 7) : mix((u64)stream, 9);
    h[7] = m->alone ? mix(mix(last[2], last[3]), 8) : mix(mix(of->word, (u64)(stream >> 2)), 10);
    h[8] = mix(fourfold, 11);
    h[9] = mix(mix(mix(fourfold, last[5]), last[6]), 12);
    for (int k = 0; k < 2; k++) {
        u64 entry = m->followers[k * (m->mask + 1) + (h[8 + k] & m->mask)];
        int64_t length = of->match_length[k], known = entry >> 48 == h[8 + k] >> 48 && entry & 255;
        m->candidates[k].token = known ? (int)(entry >> 8 & 0xFFFFFFFF) : -1;
        m->candidates[k].confidence = (int)clamp(entry & 255, 0, 63);
        m->candidates[2 + k].token = of->match_place[k] >= 0 ? m->history[of->match_place[k]] : -1;
        m->candidates[2 + k].confidence = (int)(length < 16 ? length : clamp(16 + ((length - 16) >> 2), 0, 31));
    }
}

/* The slot of a node in a context: of two neighbours that which has its check, else the one that has seen less. */
static u64 *find_slot(const Memory *m, int k, u64 salt) {
    u64 mixed = (m->hashes[k] ^ salt) * 0xBF58476D1CE4E5B9;
    mixed ^= mixed >> 32;
    u64 check = mixed >> 40 & 0xFFFF, *slot = m->slots + k * (m->mask + 1) + (mixed & m->mask);
    u64 *other = m->slots + k * (m->mask + 1) + ((mixed & m->mask) ^ 1);
    if ((*slot & 0xFFFF) == check) return slot;
    if ((*other & 0xFFFF) == check) return other;
    if ((*other >> 16 & 255) < (*slot >> 16 & 255)) slot = other;
    *slot = (u64)32768 << 48 | check;
    return slot;
}

/* The probability of "right" at a node, of 2^24; odds: the model's log-odds. */
static u64 predict(Memory *m, int node, int depth, int64_t odds) {
    const int32_t *stretch = m->p->stretch;
    u64 salt = (u64)(node + 1) * 0x9E3779B97F4A7C15;
    int64_t *counters = m->inputs + 1, *predictions = counters + COUNTERS, *corrections = predictions + PREDICTIONS;
    int seen = 0, made[PREDICTIONS], final = 0;
    m->inputs[0] = odds;
    for (int k = 0; k < COUNTERS; k++) {
        u64 entry = *(m->chosen[k].slot = k < CONTEXTS ? find_slot(m, k, salt) : m->unigram + node);
        int count = entry >> 16 & 255, takes_part = count || k == CONTEXTS;
        int level = (int)clamp((stretch[entry >> 52] + 2112) >> 7, 0, 32);
        seen += count && k < CONTEXTS;
        m->chosen[k].takes_part = takes_part, m->chosen[k].level = level;
        counters[k] = takes_part ? stretch[m->learnt.certainty[k][count][level] >> 8] : 0;
        corrections[k] = (int16_t)(entry >> 32) >> 2;
    }
    for (int k = 0; k < PREDICTIONS; k++) {
        int token = m->candidates[k].token, level = depth < 7 ? depth : 7;
        predictions[k] = 0;
        if (!(made[k] = token >= 0)) continue;
        int value = stretch[m->learnt.hit_rate[k][m->candidates[k].confidence][level] >> 8];
        m->candidates[k].level = level, m->candidates[k].right = m->p->path[token] >> depth & 1;
        predictions[k] = m->candidates[k].right ? value : -value;
    }
    m->own[0] = m->learnt.sets[seen * 4 + made[0] + 2 * made[1] + (depth ? 0 : 64)];
    m->own[1] = m->nodes[node];
    if (made[3]) final = 4 + (int)clamp(m->candidates[3].confidence >> 3, 0, 3);
    else if (made[2]) final = 1 + (int)clamp(m->candidates[2].confidence >> 3, 0, 2);
    m->final = m->learnt.final[final];
    m->result = 0;
    for (int mixer = 0; mixer < 2; mixer++) {
        int64_t total = 0;
        for (int i = 0; i < INPUTS; i++) total += m->own[mixer][i] * m->inputs[i];
        m->mixed[mixer] = clamp(total >> 16, -LIMIT, LIMIT);
        m->result += m->final[mixer] * m->mixed[mixer];
    }
    m->result = clamp(m->result >> 16, -LIMIT, LIMIT);
    return (u64)clamp(m->p->squash[m->result + LIMIT], 64, TOTAL - 64);
}

/* Moves everything that took part in the last prediction towards the answer. */
static void learn(Memory *m, int right) {
    const int32_t *squash = m->p->squash + LIMIT, goal = right ? 1048575 : 0;
    int64_t answer = (int64_t)right << 24, error = (answer - squash[m->result]) >> 8;
    int64_t rate = 400 + (4000 - 400) * 2000 / (2000 + ++m->decisions);
    for (int mixer = 0; mixer < 2; mixer++) {
        int64_t own = ((answer - squash[m->mixed[mixer]]) >> 8) * rate;
        m->final[mixer] += (int32_t)((m->mixed[mixer] * error * 60) >> 24);
        for (int i = 0; i < INPUTS; i++) {
            int64_t moved = m->own[mixer][i] + ((m->inputs[i] * own + (1 << 23)) >> 24);
            m->own[mixer][i] = (int32_t)clamp(moved, -(1 << 22), 1 << 22);
        }
    }
    for (int k = 0; k < COUNTERS; k++) {
        u64 entry = *m->chosen[k].slot;
        int64_t probability = entry >> 48, correction = (int16_t)(entry >> 32), count = entry >> 16 & 255;
        int32_t *trust = &m->learnt.certainty[k][count][m->chosen[k].level];
        if (m->chosen[k].takes_part) *trust += (goal - *trust) >> 6;
        probability += floor_div(((right ? 65535 : 0) - probability) * 2, 2 * count + 3);
        int64_t wrong = (answer - squash[clamp(m->inputs[0] + (correction >> 2), -LIMIT, LIMIT)]) >> 8;
        correction = clamp(correction + floor_div(wrong * 500, (2 * count + 3) << 12), -32768, 32767);
        count = count < 30 ? count + 1 : 30;
        *m->chosen[k].slot = (entry & 0xFFFF) | count << 16 | (u64)(correction & 0xFFFF) << 32 | (u64)probability << 48;
    }
    for (int k = 0; k < PREDICTIONS; k++) {
        if (m->candidates[k].token < 0) continue;
        int32_t *held = &m->learnt.hit_rate[k][m->candidates[k].confidence][m->candidates[k].level];
        int holds = m->candidates[k].right == right;
        *held += ((holds ? 1048575 : 0) - *held) >> 6;
        if (!holds) m->candidates[k].token = -1;
    }
}

/* Follows the match of a stream, or looks for one that ends at a position. */
static void follow_match(Memory *m, int stream, int position, int k) {
    Stream *of = m->of + stream;
    const int32_t *history = m->history, *newest = history + (size_t)stream * m->length + position;
    int64_t place = of->match_place[k], length = of->match_length[k] + 1;
    int least = k ? 8 : 4;
    place = place >= 0 && history[place] == *newest ? place + 1 : -1;
    if (position + 1 >= least) {
        u64 key = 99;
        for (int back = 0; back < least; back++) key = mix(key, (u64)newest[-back]);
        int64_t *head = m->match_heads + k * (m->mask + 1) + (key & m->mask), same = 0;
        if (place < 0 && *head >= 0) {
            int64_t most = clamp((*head - 1) % m->length, 0, position);
            while (same < 32 && same <= most && history[*head - 1 - same] == newest[-same]) same++;
            if (same >= least) place = *head, length = same;
        }
        *head = (int64_t)stream * m->length + position + 1;
    }
    int64_t row = place / m->length, column = place % m->length; /* what lies there must have been coded already */
    if (row >= m->streams || column > position || (column == position && row > stream)) place = -1;
    of->match_place[k] = place, of->match_length[k] = place < 0 ? 0 : length;
}

/* Takes the token into the history, the followers, the matches and the line and word at hand. */
static void close_token(Memory *m, int stream, int position, int token) {
    Stream *of = m->of + stream;
    m->history[(size_t)stream * m->length + position] = token;
    for (int k = 0; k < 2; k++) {
        u64 key = m->hashes[CONTEXTS + k], *entry = m->followers + k * (m->mask + 1) + (key & m->mask);
        u64 follower = *entry >> 8 & 0xFFFFFFFF, count = *entry & 255, same = follower == (u64)token;
        if (*entry >> 48 == key >> 48 && count && (same || count > 4)) {
            count = !same ? count >> 2 : count < 250 ? count + 1 : 250;
        } else {
            follower = (u64)token, count = 1;
        }
        *entry = key >> 48 << 48 | follower << 8 | count;
    }
    for (int k = 0; k < 2; k++) follow_match(m, stream, position, k);
    for (u32 i = m->p->byte_start[token]; i < m->p->byte_start[token + 1]; i++) {
        int byte = m->p->bytes[i], lower = byte | 32;
        if (of->column < LINE_BYTES) of->lines[of->current][of->column] = token + 1;
        if (byte >= 128 || (lower >= 'a' && lower <= 'z')) {
            of->word = mix(of->word, (u64)(byte < 128 ? lower : byte));
        } else {
            if (of->word) of->word_before = of->word;
            of->word = 0;
        }
        if (byte == '\n') {
            of->column = of->field_number = 0, of->field = of->beginning = 0;
            of->current = !of->current;
            memset(of->lines[of->current], 0, sizeof of->lines[0]);
        } else {
            if (of->column++ < 2) of->beginning = of->beginning * 256 + (u64)byte;
            if (byte && strchr("\t \",:;<>|", byte)) of->field_number++, of->field = 0;
            else of->field = mix(of->field, (u64)byte);
        }
    }
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
    open_token(m, stream, position);
    for (int depth = 0; node >= 0; depth++) {
        int middle = p->middle[node];
        if (!m->alone) {
            below = 0;
            for (int i = leaf; i < middle; i++) below += (u32)frequency[p->order[i]];
            odds = (logarithm(p, whole - below) - logarithm(p, below)) >> 2;
        }
        u64 share = predict(m, node, depth, odds);
        int right = reach(coder) >= TOTAL - share;
        narrow(coder, right ? TOTAL - share : 0, right ? share : TOTAL - share);
        learn(m, right);
        leaf = right ? middle : leaf, whole = right ? whole - below : below;
        node = right ? p->right[node] : p->left[node];
    }
    close_token(m, stream, position, ~node);
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

static void read_member(const Params *p, Bytes *b) {
    size_t begin = b->at, size = 0;
    const u8 *head = take(b, 3);
    if (memcmp(head, "\xf8lz", 3)) fail(begin ? "something follows the archive" : "this is not an llmzip archive");
    int version = *take(b, 1), name_size = *take(b, 1);
    if (version < 1 || version > 3) fail("the format's version is newer than this program, or 0");
    const u8 *name = take(b, (size_t)name_size), *fingerprint = take(b, 6);
    if (version == 3 && name_size >= 6 && !memcmp(name, "float/", 6)) take(b, varint(b, 0, 1024));
    u32 check = crc16(head, (size_t)(b->data + b->at - head));
    const u8 *stated = take(b, 2);
    if (!name_size || check != (u32)(stated[0] | stated[1] << 8)) fail("the header is damaged");
    int adaptive = name_size == 8 && !memcmp(name, "adaptive", 8);
    u32 (*sizes)[2] = NULL, count = 0;
    u8 *text = NULL;
    for (;; count++) {
        size_t start = b->at;
        int kind = *take(b, 1), streams = 0, tokens = 0;
        int has_tokens = kind == MODEL || kind == MODEL_AND_MEMORY || kind == MEMORY;
        if (kind == END && count > 1) fail("the index is missing");
        if (kind == INDEX) check_index(b, start, sizes, count, text, size);
        if (kind == INDEX || kind == END) break;
        if (kind > MEMORY) fail("a frame is of a kind that this program does not know");
        u32 original = varint(b, 1, has_tokens ? 1 << 21 : 1 << 24), packed = varint(b, 0, (1 << 24) + (1 << 16));
        if (has_tokens) tokens = (int)varint(b, 1, original);
        if (has_tokens) streams = (int)varint(b, 1, (u64)clamp(tokens, 1, MOST_STREAMS));
        u32 fields = (u32)(b->at - start);
        const u8 *checks = take(b, 8), *payload = take(b, packed);
        if (number32(checks) != crc32(crc32(0, b->data + start, fields), payload, packed)) fail("a frame is damaged");
        if (kind == ZSTD) fail("a frame is compressed with zstd, which this program does not decode: use llmzip");
        text = realloc(text, size + original), sizes = realloc(sizes, (count + 1) * sizeof *sizes);
        if (!text || !sizes) fail("out of memory");
        if (kind == STORED) {
            if (packed != original) fail("a stored frame has another size: it is damaged");
            memcpy(text + size, payload, original);
        } else {
            if (memcmp(fingerprint, adaptive ? p->adaptive : p->fingerprint, 6)) fail("the archive was made with another model");
            if (adaptive && kind != MEMORY) fail("a frame needs a model and there is none: the archive is damaged");
            read_tokens(p, kind, (Bytes){payload, packed, 0}, tokens, streams, text + size, original);
        }
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
