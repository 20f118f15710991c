/* Whether these kernels run on this processor, and whether they compute what they must: asked before they are used. */

#include "products.h"

int32_t runs_here(void);
int32_t self_test(void);

int32_t runs_here(void) {
#if defined(__x86_64__)
    __builtin_cpu_init(); /* no constructor does so in a library made by zig */
#endif
#if VNNI
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi2");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
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
