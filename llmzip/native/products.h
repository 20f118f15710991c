/* Sums of products of small integers, which cannot round or overflow: matrices with rows of activations, and the two
 * products of attention. Two forms that give the same numbers: for processors with AVX-512 VNNI, whose instruction adds
 * four products of bytes at once, and for all others in plain loops over 16-bit integers, which compilers turn into
 * whatever the processor has. Included by model.c. */

#ifndef LLMZIP_PRODUCTS_H
#define LLMZIP_PRODUCTS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define VNNI 1
#include <immintrin.h>
#else
#define VNNI 0
#endif

#define INLINE static inline __attribute__((always_inline))

/* Activations, and weights where there is no VNNI. */
#if VNNI
typedef int8_t whole;
#else
typedef int16_t whole;
#endif

enum { WIDTH = 64 }; /* inputs are filled up to a multiple of this, outputs too: zeros change no sum */

INLINE size_t filled_up(size_t size) { return (size + WIDTH - 1) / WIDTH * WIDTH; }

static void *zeroed(size_t count, size_t size) {
    size_t bytes = filled_up((count ? count : 1) * size);
    void *block = NULL;
#if defined(_WIN32)
    block = _aligned_malloc(bytes, 64);
#else
    block = aligned_alloc(64, bytes);
#endif
    return block ? memset(block, 0, bytes) : NULL;
}

static void released(void *block) {
#if defined(_WIN32)
    _aligned_free(block);
#else
    free(block);
#endif
}

/* One part of a matrix: all outputs, some inputs, so few that no sum can round in the definition. */
typedef struct {
    int32_t outputs, first, inputs; /* first: of the inputs */
    size_t rows, stride;            /* both filled up */
    void *weights;                  /* VNNI: u8 [rows / 16][stride / 4][16][4], + 128; else whole [rows][stride] */
} part;

static int part_pack(part *p, const int8_t *weights, int32_t all_inputs) {
    p->rows = filled_up((size_t)p->outputs), p->stride = filled_up((size_t)p->inputs);
    p->weights = zeroed(p->rows * p->stride, VNNI ? 1 : sizeof(whole));
    if (!p->weights) return 0;
#if VNNI
    uint8_t *packed = memset(p->weights, 128, p->rows * p->stride);
#else
    whole *packed = p->weights;
#endif
    for (int32_t row = 0; row < p->outputs; row++) {
        const int8_t *from = weights + (size_t)row * (size_t)all_inputs + p->first;
        for (int32_t i = 0; i < p->inputs; i++) {
#if VNNI
            size_t place = ((size_t)(row / 16) * (p->stride / 4) + (size_t)(i / 4)) * 64 + (size_t)(row % 16 * 4 + i % 4);
            packed[place] = (uint8_t)(from[i] + 128);
#else
            packed[(size_t)row * p->stride + (size_t)i] = from[i];
#endif
        }
    }
    return 1;
}

#if VNNI

INLINE int32_t sum_of(const whole *q, size_t size) {
    int32_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += q[i];
    return sum;
}

/* 16 R outputs of S rows. The weights are 128 too large, so 128 times the sum of a row's activations is too much. */
#define DEFINE_TILE(R, S)                                                                                             \
    static void tile_##R##x##S(const uint8_t *weights, size_t stride, const whole *q, size_t q_stride, int32_t *y,     \
                               size_t y_stride, const int32_t *excess) {                                               \
        size_t steps = stride / 4;                                                                                     \
        __m512i sum[R][S];                                                                                             \
        for (int r = 0; r < R; r++)                                                                                    \
            for (int s = 0; s < S; s++) sum[r][s] = _mm512_set1_epi32(-excess[s]);                                     \
        for (size_t k = 0; k < steps; k++) {                                                                           \
            __m512i of[S];                                                                                             \
            for (int s = 0; s < S; s++) {                                                                              \
                int32_t four;                                                                                          \
                memcpy(&four, q + (size_t)s * q_stride + 4 * k, 4);                                                    \
                of[s] = _mm512_set1_epi32(four);                                                                       \
            }                                                                                                          \
            for (int r = 0; r < R; r++) {                                                                              \
                __m512i w = _mm512_load_si512(weights + ((size_t)r * steps + k) * 64);                                 \
                for (int s = 0; s < S; s++) sum[r][s] = _mm512_dpbusd_epi32(sum[r][s], w, of[s]);                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int r = 0; r < R; r++)                                                                                    \
            for (int s = 0; s < S; s++) _mm512_storeu_si512(y + (size_t)s * y_stride + 16 * r, sum[r][s]);             \
    }
DEFINE_TILE(4, 4)
DEFINE_TILE(4, 2)
DEFINE_TILE(4, 1)

/* y [rows of q][part's rows] = weights times q [rows of q][q_stride], whose inputs begin at the part's first. */
static void part_multiply(const part *p, const whole *q, size_t q_stride, size_t count, int32_t *y, size_t y_stride) {
    int32_t excess[4];
    q += p->first;
    for (size_t s = 0; s < count;) {
        size_t take = count - s >= 4 ? 4 : count - s >= 2 ? 2 : 1;
        const whole *own = q + s * q_stride;
        int32_t *to = y + s * y_stride;
        for (size_t i = 0; i < take; i++) excess[i] = 128 * sum_of(own + i * q_stride, p->stride);
        for (size_t r = 0; r < p->rows; r += 64) {
            const uint8_t *weights = (const uint8_t *)p->weights + r * p->stride;
            if (take == 4) tile_4x4(weights, p->stride, own, q_stride, to + r, y_stride, excess);
            else if (take == 2) tile_4x2(weights, p->stride, own, q_stride, to + r, y_stride, excess);
            else tile_4x1(weights, p->stride, own, q_stride, to + r, y_stride, excess);
        }
        s += take;
    }
}

#else

/* Four outputs of two rows at once: each number that is loaded takes part in several products. */
static void part_multiply(const part *p, const whole *q, size_t q_stride, size_t count, int32_t *y, size_t y_stride) {
    size_t n = p->stride;
    q += p->first;
    for (size_t block = 0; block < p->rows; block += 64) { /* these weights stay near while all rows use them */
        size_t s = 0;
        for (; s + 2 <= count; s += 2) {
            const whole *restrict a = q + s * q_stride, *restrict b = a + q_stride;
            for (size_t r = block; r < block + 64; r += 2) {
                const whole *restrict w = (const whole *)p->weights + r * n, *restrict v = w + n;
                int32_t wa = 0, wb = 0, va = 0, vb = 0;
                for (size_t i = 0; i < n; i++) {
                    wa += w[i] * a[i], wb += w[i] * b[i];
                    va += v[i] * a[i], vb += v[i] * b[i];
                }
                y[s * y_stride + r] = wa, y[(s + 1) * y_stride + r] = wb;
                y[s * y_stride + r + 1] = va, y[(s + 1) * y_stride + r + 1] = vb;
            }
        }
        for (; s < count; s++) {
            const whole *restrict a = q + s * q_stride;
            for (size_t r = block; r < block + 64; r++) {
                const whole *restrict w = (const whole *)p->weights + r * n;
                int32_t sum = 0;
                for (size_t i = 0; i < n; i++) sum += w[i] * a[i];
                y[s * y_stride + r] = sum;
            }
        }
    }
}

#endif

/* ---- attention: the window's keys and values of one stream, layer and key-value head ----
 *
 * VNNI: keys u8 [slots / 16][dim / 4][16][4], + 128; values i8 [slots / 4][dim][4]. Else keys whole [slots][dim], values
 * whole [dim][slots]. dim is filled up to a multiple of 64 in keys and of 16 in values, slots to one of 64. */

#if VNNI
typedef uint8_t key_part;
typedef int8_t value_part;
#else
typedef whole key_part;
typedef whole value_part;
#endif

/* Nothing is in any slot. */
static void keys_clear(key_part *keys, size_t size) { memset(keys, VNNI ? 128 : 0, size * sizeof *keys); }

static void key_put(key_part *keys, size_t dim, size_t slot, const whole *q) {
#if VNNI
    for (size_t k = 0; k < dim / 4; k++) {
        key_part *four = keys + ((slot / 16 * (dim / 4) + k) * 16 + slot % 16) * 4;
        for (size_t i = 0; i < 4; i++) four[i] = (uint8_t)(q[4 * k + i] + 128);
    }
#else
    memcpy(keys + slot * dim, q, dim * sizeof *q);
#endif
}

static void value_put(value_part *values, size_t dim, size_t slots, size_t slot, const whole *q) {
    for (size_t i = 0; i < dim; i++) {
#if VNNI
        (void)slots;
        values[(slot / 4 * dim + i) * 4 + slot % 4] = q[i];
#else
        values[i * slots + slot] = q[i];
#endif
    }
}

/* scores[h][slot], h < heads, of queries q [heads][dim] and the first ``seen`` slots; more, up to 64, may be written. */
#if VNNI
INLINE void score_some(int heads, const key_part *keys, size_t dim, size_t seen, const whole *q, int32_t *scores,
                       size_t slots) {
    int32_t excess[4];
    for (int h = 0; h < heads; h++) excess[h] = 128 * sum_of(q + (size_t)h * dim, dim);
    for (size_t slot = 0; slot < seen; slot += 64) {
        __m512i sum[4][4];
        for (int h = 0; h < heads; h++)
            for (int b = 0; b < 4; b++) sum[h][b] = _mm512_set1_epi32(-excess[h]);
        for (size_t k = 0; k < dim / 4; k++) {
            __m512i of[4];
            for (int h = 0; h < heads; h++) {
                int32_t four;
                memcpy(&four, q + (size_t)h * dim + 4 * k, 4);
                of[h] = _mm512_set1_epi32(four);
            }
            for (int b = 0; b < 4; b++) {
                __m512i key = _mm512_load_si512(keys + ((slot / 16 + (size_t)b) * (dim / 4) + k) * 64);
                for (int h = 0; h < heads; h++) sum[h][b] = _mm512_dpbusd_epi32(sum[h][b], key, of[h]);
            }
        }
        for (int h = 0; h < heads; h++)
            for (int b = 0; b < 4; b++) _mm512_storeu_si512(scores + (size_t)h * slots + slot + 16 * (size_t)b, sum[h][b]);
    }
}
static void score(int heads, const key_part *keys, size_t dim, size_t seen, const whole *q, int32_t *scores, size_t slots) {
    for (int h = 0; h < heads;) {
        int take = heads - h >= 4 ? 4 : heads - h;
        const whole *own = q + (size_t)h * dim;
        int32_t *to = scores + (size_t)h * slots;
        if (take == 4) score_some(4, keys, dim, seen, own, to, slots);
        else if (take == 3) score_some(3, keys, dim, seen, own, to, slots);
        else if (take == 2) score_some(2, keys, dim, seen, own, to, slots);
        else score_some(1, keys, dim, seen, own, to, slots);
        h += take;
    }
}
#else
static void score(int heads, const key_part *keys, size_t dim, size_t seen, const whole *q, int32_t *scores, size_t slots) {
    for (int h = 0; h < heads; h++) {
        const whole *restrict own = q + (size_t)h * dim;
        for (size_t slot = 0; slot < seen; slot++) {
            const whole *restrict key = keys + slot * dim;
            int32_t sum = 0;
            for (size_t i = 0; i < dim; i++) sum += own[i] * key[i];
            scores[(size_t)h * slots + slot] = sum;
        }
    }
}
#endif

/* sums[i] = the sum of shares[slot] * value i of the slot. shares: 0 to 65536, at most one of them 65536, zeros after
 * ``seen`` up to a multiple of 64; low and high: room for their two bytes. */
static void mix(const value_part *values, size_t dim, size_t seen, const int32_t *shares, size_t slots, int32_t *sums,
                whole *low, whole *high) {
    size_t end = filled_up(seen);
#if VNNI
    uint8_t *lows = (uint8_t *)low, *highs = (uint8_t *)high;
    size_t most = end; /* the slot with 65536, which two bytes do not hold */
    for (size_t j = 0; j < end; j += 16) {
        __m512i share = _mm512_loadu_si512(shares + j);
        __mmask16 large = _mm512_cmpgt_epi32_mask(share, _mm512_set1_epi32(65535));
        if (large) most = j + (size_t)__builtin_ctz(large), share = _mm512_mask_mov_epi32(share, large, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(lows + j), _mm512_cvtepi32_epi8(share));
        _mm_storeu_si128((__m128i *)(highs + j), _mm512_cvtepi32_epi8(_mm512_srli_epi32(share, 8)));
    }
    (void)slots;
    for (size_t i = 0; i < dim; i += 64) {
        __m512i sum[4][2];
        size_t blocks = dim - i >= 64 ? 4 : (dim - i) / 16;
        for (size_t b = 0; b < blocks; b++) sum[b][0] = sum[b][1] = _mm512_setzero_si512();
        for (size_t j = 0; j < end; j += 4) {
            int32_t a, c;
            memcpy(&a, lows + j, 4), memcpy(&c, highs + j, 4);
            __m512i of_low = _mm512_set1_epi32(a), of_high = _mm512_set1_epi32(c);
            for (size_t b = 0; b < blocks; b++) {
                __m512i value = _mm512_load_si512(values + (j / 4 * dim + i + 16 * b) * 4);
                sum[b][0] = _mm512_dpbusd_epi32(sum[b][0], of_low, value);
                sum[b][1] = _mm512_dpbusd_epi32(sum[b][1], of_high, value);
            }
        }
        for (size_t b = 0; b < blocks; b++) {
            __m512i both = _mm512_add_epi32(sum[b][0], _mm512_slli_epi32(sum[b][1], 8));
            _mm512_storeu_si512(sums + i + 16 * b, both);
        }
    }
    if (most < end)
        for (size_t i = 0; i < dim; i++) sums[i] += 65536 * values[(most / 4 * dim + i) * 4 + most % 4];
#else
    for (size_t j = 0; j < end; j++) low[j] = (whole)(shares[j] & 255), high[j] = (whole)(shares[j] >> 8);
    for (size_t i = 0; i < dim; i++) {
        const whole *restrict value = values + i * slots;
        int32_t of_low = 0, of_high = 0;
        for (size_t j = 0; j < end; j++) of_low += low[j] * value[j], of_high += high[j] * value[j];
        sums[i] = of_low + 256 * of_high;
    }
#endif
}

#endif
