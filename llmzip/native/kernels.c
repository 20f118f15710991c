/* Whether these kernels run on this processor, and whether they compute what they must: asked before they are used. */

#include "products.h"

int32_t runs_here(void);
int32_t self_test(void);

#if VNNI || defined(__AVX2__)
#include <cpuid.h>

/* Whether the processor has all these features of its leaf 7 and the system keeps these registers. Asked directly: the
 * compilers' own function finds nothing in a library that zig links. */
static int32_t supports(uint32_t features, uint32_t more_features, uint32_t registers) {
    uint32_t a, b, c, d, kept, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0; /* the next instruction exists */
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(unused) : "c"(0));
    if ((kept & registers) != registers || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (b & features) == features && (c & more_features) == more_features;
}
#endif

#define BIT(n) (UINT32_C(1) << (n))

int32_t runs_here(void) {
#if VNNI /* AVX2, BMI2, AVX-512 F, DQ, BW and VL; VNNI */
    return supports(BIT(5) | BIT(8) | BIT(16) | BIT(17) | BIT(30) | BIT(31), BIT(11), 0xE6);
#elif defined(__AVX2__)
    return supports(BIT(5) | BIT(8), 0, 6);
#else
    return 1;
#endif
}

/* -127, ..., 127, or one of both ends: what saturates or overflows shows there. */
static int8_t some(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    uint32_t high = *state >> 16;
    return (int8_t)(high & 3 ? (int32_t)(high >> 2) % 255 - 127 : high & 4 ? 127 : -127);
}

enum { OUTPUTS = 67, INPUTS = 131, ROWS = 7, Q_STRIDE = 256, DIM = 48, SLOTS = 128, SEEN = 77, HEADS = 5 };

static int32_t multiplies(uint32_t *state) {
    static const int32_t firsts[] = {0, 50};
    int8_t weights[OUTPUTS * INPUTS];
    whole q[ROWS * Q_STRIDE] = {0};
    int32_t y[ROWS * 128], fine = 1;
    for (size_t i = 0; i < sizeof weights; i++) weights[i] = some(state);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < INPUTS; i++) q[row * Q_STRIDE + i] = some(state);
    for (int k = 0; k < 2; k++) {
        int32_t end = k ? INPUTS : firsts[1];
        part p = {.outputs = OUTPUTS, .first = firsts[k], .inputs = end - firsts[k]};
        if (!part_pack(&p, weights, INPUTS)) return 0;
        part_multiply(&p, q, Q_STRIDE, ROWS, y, 128);
        for (int row = 0; row < ROWS; row++)
            for (int out = 0; out < OUTPUTS; out++) {
                int32_t sum = 0;
                for (int i = firsts[k]; i < end; i++) sum += weights[out * INPUTS + i] * q[row * Q_STRIDE + i];
                fine = fine && y[row * 128 + out] == sum;
            }
        released(p.weights);
    }
    return fine;
}

static int32_t attends(uint32_t *state) {
    key_part *keys = zeroed(SLOTS * DIM, sizeof *keys);
    value_part *values = zeroed(SLOTS * DIM, sizeof *values);
    whole q[(HEADS + 2 * SLOTS) * DIM], low[SLOTS], high[SLOTS];
    whole *key = q + HEADS * DIM, *value = key + SLOTS * DIM;
    int32_t scores[HEADS * SLOTS], shares[SLOTS] = {0}, sums[DIM], fine = keys && values;
    if (fine) {
        for (size_t i = 0; i < sizeof q / sizeof *q; i++) q[i] = some(state);
        keys_clear(keys, SLOTS * DIM);
        for (size_t slot = 0; slot < SEEN; slot++) {
            key_put(keys, DIM, slot, key + slot * DIM), value_put(values, DIM, SLOTS, slot, value + slot * DIM);
            shares[slot] = slot == 20 ? 65536 : slot % 3 ? 0 : (int32_t)slot * 100;
        }
        score(HEADS, keys, DIM, SEEN, q, scores, SLOTS);
        mix(values, DIM, SEEN, shares, SLOTS, sums, low, high);
    }
    for (size_t slot = 0; fine && slot < SEEN; slot++)
        for (size_t h = 0; h < HEADS; h++) {
            int32_t sum = 0;
            for (size_t i = 0; i < DIM; i++) sum += q[h * DIM + i] * key[slot * DIM + i];
            fine = fine && scores[h * SLOTS + slot] == sum;
        }
    for (size_t i = 0; fine && i < DIM; i++) {
        int32_t sum = 0;
        for (size_t slot = 0; slot < SEEN; slot++) sum += shares[slot] * value[slot * DIM + i];
        fine = fine && sums[i] == sum;
    }
    released(keys), released(values);
    return fine;
}

int32_t self_test(void) {
    uint32_t state = 1;
    return multiplies(&state) && attends(&state);
}
