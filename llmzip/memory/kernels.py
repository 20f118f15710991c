"""The compiled mixing network: integers in, integers out, one token after another in the order of coding.

A decision's probability of "right" is mixed from the log-odds of the model, of adaptive counters in hashed contexts, of
corrections learnt for the model in the same contexts, and of whole tokens that longer contexts and matches predict.
Encoding and decoding run the same ``_open``, ``_predict``, ``_learn`` and ``_close``. Imports numba: import late.
"""

import math
from typing import Any, NamedTuple

import numba
import numba.extending
import numpy as np
from numpy.typing import NDArray

from llmzip.compiled import Kernel, kernel

# numba's cache on disk knows when this file changes but not when another does: constants stand here.
CONTEXTS = 8  # hashed; the unigram of all streams is one more
COUNTERS = CONTEXTS + 1
PREDICTIONS = 4  # whole tokens: after 4 tokens, after 6, by a match of 4 or more, of 8 or more
INPUTS = 1 + COUNTERS + PREDICTIONS + COUNTERS
MIXERS = 2
WEIGHT_SETS = 128  # of the first mixer; the second has one a node
CHECK_BITS = 16
COUNT_LIMIT = 30
COUNT_LEVELS = 32
CERTAINTY_LEVELS = 33
DEPTH_LEVELS = 8
LINE_BYTES = 256
LIMIT = 17 * 256
TOTAL = 1 << 24
LEAST = 64  # of 2^24: no decision is surer
FAST_RATE, SLOW_RATE, RATE_HALVING = 4000, 400, 2000
FINAL_RATE = 60
WEIGHT_LIMIT = 1 << 22
MATCH_LENGTHS = (4, 8)

_kernel = kernel(error_model="numpy")


def _inlined(function: Kernel) -> Kernel:
    """Compiled into its callers: a call would copy the thirty arrays of a ``State``."""
    inlined: Kernel = numba.njit(function, nogil=True, inline="always", error_model="numpy")
    return inlined


class Tree(NamedTuple):
    """The way from the root to a token, and the table for a model's log-odds on it: see ``tree`` and ``tables``."""

    order: NDArray[np.int32]
    middle: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    logarithm: NDArray[np.int64]


class State(NamedTuple):
    """All that is learnt, and what the token at hand is predicted from. Made by ``mixing``."""

    squash: NDArray[np.int64]
    stretch: NDArray[np.int64]
    path_start: NDArray[np.int32]
    path_node: NDArray[np.int32]
    path_bit: NDArray[np.int8]
    byte_start: NDArray[np.int32]
    bytes_of: NDArray[np.uint8]
    history: NDArray[np.int32]  # [streams, length]: tokens so far
    slots: NDArray[np.uint64]  # [CONTEXTS, size]: check 16 bits, count 8, free 8, correction 16 signed, probability 16
    unigram: NDArray[np.uint64]  # [vocabulary]: the same, by node
    certainty: NDArray[np.int32]  # [COUNTERS, COUNT_LEVELS, CERTAINTY_LEVELS]: what a counter's state is worth, of 2^20
    followers: NDArray[np.uint64]  # [2, size]: check 16, count 8, token 32
    hit_rate: NDArray[np.int32]  # [PREDICTIONS, 64, DEPTH_LEVELS]: how often predictions hold, of 2^20
    match_heads: NDArray[np.int64]  # [2, size]: place after the last occurrence, -1 for none
    match_place: NDArray[np.int64]  # [2, streams]: place of the predicted token, -1 for none
    match_length: NDArray[np.int64]  # [2, streams]
    weights: NDArray[np.int32]  # [MIXERS, vocabulary, INPUTS], 1 = 2^16
    final_weights: NDArray[np.int32]  # [8, MIXERS]
    words: NDArray[np.uint64]  # [streams, 4]: word so far, word before, field so far, line's beginning
    places: NDArray[np.int64]  # [streams, 3]: column, field, which of the two lines is current
    lines: NDArray[np.int32]  # [streams, 2, LINE_BYTES]: token + 1 at each column
    hashes: NDArray[np.uint64]  # [CONTEXTS + 2] of the token at hand
    candidate: NDArray[np.int64]  # [PREDICTIONS, 4]: token or -1 once refuted, confidence, depth level, next answer
    chosen: NDArray[np.int64]  # [COUNTERS, 3]: slot, count level, certainty level
    inputs: NDArray[np.int64]  # [INPUTS]
    mixed: NDArray[np.int64]  # [MIXERS + 1, 2]: log-odds and weight set; last: final log-odds and set
    counts: NDArray[np.int64]  # [1]: decisions so far


@_kernel
def _mix(a, b):  # type: ignore[no-untyped-def]
    value = (a * np.uint64(0x9E3779B97F4A7C15)) + b + np.uint64(0x632BE59BD9B4E019)
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(32))


@_inlined
def _open(state, stream, position, alone):  # type: ignore[no-untyped-def]
    """Hashes of the contexts of the next token of a stream, and the tokens that they predict."""
    history, words, hashes, candidate = state.history[stream], state.words[stream], state.hashes, state.candidate
    one = np.uint64(history[position - 1] + 1) if position > 0 else np.uint64(0)
    two = np.uint64(history[position - 2] + 1) if position > 1 else np.uint64(0)
    three = np.uint64(history[position - 3] + 1) if position > 2 else np.uint64(0)
    four = np.uint64(history[position - 4] + 1) if position > 3 else np.uint64(0)
    five = np.uint64(history[position - 5] + 1) if position > 4 else np.uint64(0)
    six = np.uint64(history[position - 6] + 1) if position > 5 else np.uint64(0)
    pair = _mix(one, two)
    triple = _mix(pair, three)
    fourfold = _mix(triple, four)
    column, field, line = state.places[stream]
    above = np.uint64(state.lines[stream, 1 - line, min(column, LINE_BYTES - 1)])
    hashes[0] = _mix(one, np.uint64(1))
    hashes[1] = _mix(pair, np.uint64(2))
    hashes[2] = _mix(words[0], words[1] + np.uint64(3))
    hashes[3] = _mix(_mix(above, one), np.uint64(4))
    hashes[4] = _mix(_mix(np.uint64(field), words[2]), words[3] + np.uint64(5))
    hashes[5] = _mix(words[0], np.uint64(6))
    if alone:
        hashes[6] = _mix(triple, np.uint64(7))
        hashes[7] = _mix(_mix(two, three), np.uint64(8))
    else:
        hashes[6] = _mix(np.uint64(stream), np.uint64(9))
        hashes[7] = _mix(_mix(words[0], np.uint64(stream >> 2)), np.uint64(10))
    hashes[8] = _mix(fourfold, np.uint64(11))
    hashes[9] = _mix(_mix(_mix(fourfold, five), six), np.uint64(12))
    size = np.uint64(state.followers.shape[1] - 1)
    for k in range(2):
        entry = state.followers[k, np.int64(hashes[CONTEXTS + k] & size)]
        candidate[k, 0] = -1
        if entry >> np.uint64(48) == hashes[CONTEXTS + k] >> np.uint64(48) and entry & np.uint64(255):
            candidate[k, 0] = np.int64((entry >> np.uint64(8)) & np.uint64(0xFFFFFFFF))
            candidate[k, 1] = min(np.int64(entry & np.uint64(255)), 63)
        place, length = state.match_place[k, stream], state.match_length[k, stream]
        candidate[2 + k, 0] = -1
        if place >= 0:
            candidate[2 + k, 0] = state.history[place // state.history.shape[1], place % state.history.shape[1]]
            candidate[2 + k, 1] = length if length < 16 else min(16 + ((length - 16) >> 2), 31)


@_kernel
def _slot_value(entry):  # type: ignore[no-untyped-def]
    """(probability of 2^16, correction in 1/1024 nat, count) of a slot."""
    correction = np.int64((entry >> np.uint64(32)) & np.uint64(0xFFFF))
    if correction >= 32768:
        correction -= 65536
    return np.int64(entry >> np.uint64(48)), correction, np.int64((entry >> np.uint64(16)) & np.uint64(255))


@numba.extending.intrinsic
def _prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    """Asks for the cache line of ``array.flat[index]``; computes nothing. array: contiguous."""
    from llvmlite import ir

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], function_type)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [place, number(1), number(3), number(1)])  # to write, to keep, data
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.intp), generate


@_inlined
def _fetch(state, node):  # type: ignore[no-untyped-def]
    """Has the slots of a node brought from main memory while the node before it is learnt: half of the time is that."""
    size = state.slots.shape[1]
    salt = np.uint64(node + 1) * np.uint64(0x9E3779B97F4A7C15)
    for k in range(CONTEXTS):
        mixed = (state.hashes[k] ^ salt) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(32)
        _prefetch(state.slots, k * size + np.int64(mixed & np.uint64(size - 1)))  # type: ignore[call-arg]


@_inlined
def _predict(state, node, depth, odds):  # type: ignore[no-untyped-def]
    """The probability of "right" at a node, of 2^24; ``odds``: the model's log-odds."""
    inputs, chosen, slots, candidate = state.inputs, state.chosen, state.slots, state.candidate
    size = np.uint64(slots.shape[1] - 1)
    salt = np.uint64(node + 1) * np.uint64(0x9E3779B97F4A7C15)
    inputs[0] = odds
    seen = 0
    for k in range(COUNTERS):
        if k < CONTEXTS:
            mixed = (state.hashes[k] ^ salt) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
            place, check = np.int64(mixed & size), (mixed >> np.uint64(40)) & np.uint64(0xFFFF)
            entry = slots[k, place]
            if entry & np.uint64(0xFFFF) != check:
                other = slots[k, place ^ 1]
                if other & np.uint64(0xFFFF) == check:
                    place, entry = place ^ 1, other
                else:
                    if (other >> np.uint64(16)) & np.uint64(255) < (entry >> np.uint64(16)) & np.uint64(255):
                        place ^= 1
                    entry = (np.uint64(32768) << np.uint64(48)) | check
                    slots[k, place] = entry
            chosen[k, 0] = place
        else:
            entry = state.unigram[node]
        probability, correction, count = _slot_value(entry)
        inputs[1 + k], inputs[1 + COUNTERS + PREDICTIONS + k] = 0, correction >> 2
        chosen[k, 1] = -1
        if count > 0 or k == CONTEXTS:
            if k < CONTEXTS:
                seen += 1
            level = min(max((state.stretch[probability >> 4] + 2112) >> 7, 0), CERTAINTY_LEVELS - 1)
            chosen[k, 1], chosen[k, 2] = count, level
            inputs[1 + k] = state.stretch[state.certainty[k, count, level] >> 8]
    for k in range(PREDICTIONS):
        inputs[1 + COUNTERS + k] = 0
        if candidate[k, 0] >= 0:
            level = min(depth, DEPTH_LEVELS - 1)
            candidate[k, 2] = level
            value = state.stretch[state.hit_rate[k, candidate[k, 1], level] >> 8]
            right = state.path_bit[state.path_start[candidate[k, 0]] + depth]
            candidate[k, 3] = right
            inputs[1 + COUNTERS + k] = value if right else -value
    known = (candidate[0, 0] >= 0) + 2 * (candidate[1, 0] >= 0)
    state.mixed[0, 1] = seen * 4 + known + (64 if depth == 0 else 0)
    state.mixed[1, 1] = node
    final = 0
    if candidate[3, 0] >= 0:
        final = 4 + min(3, candidate[3, 1] >> 3)
    elif candidate[2, 0] >= 0:
        final = 1 + min(2, candidate[2, 1] >> 3)
    state.mixed[MIXERS, 1] = final
    result: Any = np.int64(0)
    for mixer in range(MIXERS):
        total: Any = np.int64(0)
        weights = state.weights[mixer, state.mixed[mixer, 1]]
        for i in range(INPUTS):
            total += np.int64(weights[i]) * inputs[i]
        total = min(max(total >> 16, -LIMIT), LIMIT)
        state.mixed[mixer, 0] = total
        result += np.int64(state.final_weights[final, mixer]) * total
    result = min(max(result >> 16, -LIMIT), LIMIT)
    state.mixed[MIXERS, 0] = result
    return min(max(state.squash[result + LIMIT], LEAST), TOTAL - LEAST)


@_inlined
def _learn(state, node, right):  # type: ignore[no-untyped-def]
    """Moves everything that took part in the last prediction towards the answer (``right``: 0 or 1)."""
    inputs, chosen, squash, candidate = state.inputs, state.chosen, state.squash, state.candidate
    answer, final = right << 24, state.mixed[MIXERS, 1]
    error = (answer - squash[state.mixed[MIXERS, 0] + LIMIT]) >> 8
    state.counts[0] += 1
    rate = SLOW_RATE + (FAST_RATE - SLOW_RATE) * RATE_HALVING // (RATE_HALVING + state.counts[0])
    for mixer in range(MIXERS):
        odds = state.mixed[mixer, 0]
        state.final_weights[final, mixer] += np.int32((odds * error * FINAL_RATE) >> 24)
        own, weights = (answer - squash[odds + LIMIT]) >> 8, state.weights[mixer, state.mixed[mixer, 1]]
        for i in range(INPUTS):
            step = (inputs[i] * own * rate + (1 << 23)) >> 24
            weights[i] = min(max(np.int64(weights[i]) + step, -WEIGHT_LIMIT), WEIGHT_LIMIT)
    goal = 1048575 if right else 0
    for k in range(COUNTERS):
        entry = state.slots[k, chosen[k, 0]] if k < CONTEXTS else state.unigram[node]
        probability, correction, count = _slot_value(entry)
        if chosen[k, 1] >= 0:
            old = state.certainty[k, chosen[k, 1], chosen[k, 2]]
            state.certainty[k, chosen[k, 1], chosen[k, 2]] = old + ((goal - old) >> 6)
        probability += (((65535 if right else 0) - probability) * 2) // (2 * count + 3)
        corrected = min(max(inputs[0] + (correction >> 2), -LIMIT), LIMIT)
        error = (answer - squash[corrected + LIMIT]) >> 8
        correction += (error * 500) // ((2 * count + 3) << 12)
        correction = min(max(correction, -32768), 32767)
        count = min(count + 1, COUNT_LIMIT)
        entry = (entry & np.uint64(0xFFFF)) | (np.uint64(count) << np.uint64(16))
        entry |= np.uint64(correction & 0xFFFF) << np.uint64(32)
        entry |= np.uint64(probability) << np.uint64(48)
        if k < CONTEXTS:
            state.slots[k, chosen[k, 0]] = entry
        else:
            state.unigram[node] = entry
    for k in range(PREDICTIONS):
        if candidate[k, 0] >= 0:
            hit = candidate[k, 3] == right
            old = state.hit_rate[k, candidate[k, 1], candidate[k, 2]]
            state.hit_rate[k, candidate[k, 1], candidate[k, 2]] = old + (((1048575 if hit else 0) - old) >> 6)
            if not hit:
                candidate[k, 0] = -1


@_inlined
def _close(state, stream, position, token):  # type: ignore[no-untyped-def]
    """Takes the token into the history, the followers, the matches and the line and word at hand."""
    history, length = state.history, state.history.shape[1]
    history[stream, position] = token
    size = np.uint64(state.followers.shape[1] - 1)
    for k in range(2):
        key = state.hashes[CONTEXTS + k]
        place = np.int64(key & size)
        entry = state.followers[k, place]
        follower: Any = np.int64((entry >> np.uint64(8)) & np.uint64(0xFFFFFFFF))
        count: Any = np.int64(entry & np.uint64(255))
        if entry >> np.uint64(48) == key >> np.uint64(48) and count > 0 and (follower == token or count > 4):
            count = min(count + 1, 250) if follower == token else count >> 2
        else:
            follower, count = np.int64(token), 1
        entry = (key >> np.uint64(48)) << np.uint64(48)
        state.followers[k, place] = entry | (np.uint64(follower) << np.uint64(8)) | np.uint64(count)
    heads = np.uint64(state.match_heads.shape[1] - 1)
    for k in range(2):
        place = state.match_place[k, stream]
        if place >= 0 and history[place // length, place % length] == token:
            state.match_place[k, stream] = place + 1
            state.match_length[k, stream] += 1
        else:
            state.match_place[k, stream] = -1
            state.match_length[k, stream] = 0
        least = MATCH_LENGTHS[k]
        if position + 1 >= least:
            key = np.uint64(99)
            for back in range(least):
                key = _mix(key, np.uint64(history[stream, position - back]))
            head = np.int64(key & heads)
            if state.match_place[k, stream] < 0 and state.match_heads[k, head] >= 0:
                place = state.match_heads[k, head]
                row, before = (place - 1) // length, (place - 1) % length
                same = 0
                while (
                    same < 32
                    and same <= before
                    and same <= position
                    and history[row, before - same] == history[stream, position - same]
                ):
                    same += 1
                if same >= least:
                    state.match_place[k, stream], state.match_length[k, stream] = place, same
            state.match_heads[k, head] = stream * length + position + 1
        place = state.match_place[k, stream]
        if place >= 0:
            row, column = place // length, place % length
            # What lies there must have been coded already.
            if row >= history.shape[0] or column > position or (column == position and row > stream):
                state.match_place[k, stream], state.match_length[k, stream] = -1, 0
    words, places = state.words[stream], state.places[stream]
    for i in range(state.byte_start[token], state.byte_start[token + 1]):
        byte = state.bytes_of[i]
        if places[0] < LINE_BYTES:
            state.lines[stream, places[2], places[0]] = token + 1
        if 97 <= byte <= 122 or 65 <= byte <= 90 or byte >= 128:
            words[0] = _mix(words[0], np.uint64(byte | 32 if byte < 128 else byte))
        else:
            if words[0] != 0:
                words[1] = words[0]
            words[0] = 0
        if byte == 10:
            places[0], places[1], places[2], words[2], words[3] = 0, 0, 1 - places[2], 0, 0
            state.lines[stream, places[2]] = 0
        else:
            if places[0] < 2:
                words[3] = words[3] * np.uint64(256) + np.uint64(byte)
            places[0] += 1
            if byte in (9, 32, 34, 44, 58, 59, 60, 62, 124):  # tab space " , : ; < > |
                places[1] += 1
                words[2] = 0
            else:
                words[2] = _mix(words[2], np.uint64(byte))


@_kernel
def _logarithm(value, table):  # type: ignore[no-untyped-def]
    """1024 ln(value), for 1 <= value <= 2^24."""
    mantissa, exponent = math.frexp(float(value))
    return np.int64(exponent) * 709783 // 1000 + table[np.int64((mantissa * 2.0 - 1.0) * 2048.0)]


@_kernel
def odds_along_paths(frequencies, tokens, order, path_start, path_range, table, odds):  # type: ignore[no-untyped-def]
    """The model's log-odds of "right" at each node on the way to each token. odds: [n, depth] int16, filled here."""
    size = order.size
    sums = np.zeros(size + 1, np.int64)
    for n in range(tokens.size):
        for i in range(size):
            sums[i + 1] = sums[i] + frequencies[n, order[i]]
        start = path_start[tokens[n]]
        for step in range(start, path_start[tokens[n] + 1]):
            first, middle, end = path_range[step]
            right, left = sums[end] - sums[middle], sums[middle] - sums[first]
            odds[n, step - start] = (_logarithm(right, table) - _logarithm(left, table)) >> 2


@_inlined
def _decide(coder, words, share):  # type: ignore[no-untyped-def]
    """One decision read from the words of constriction's range coder; -1 where they are none.

    coder: [4] uint64: lower, range, point, next word. "Left" is the interval from 0.
    """
    lower, width, point = coder[0], coder[1], coder[2]
    scale = width >> np.uint64(24)
    boundary = np.uint64(TOTAL) - np.uint64(share)
    cut, gone = scale * boundary, point - lower
    answer = -1
    if gone < scale << np.uint64(24):
        if gone >= cut:
            answer = 1
            lower += cut
            width = scale * np.uint64(share)
        else:
            answer = 0
            width = cut
        if width < np.uint64(1 << 32):
            lower <<= np.uint64(32)
            width <<= np.uint64(32)
            point <<= np.uint64(32)
            if coder[3] < np.uint64(words.size):
                point |= np.uint64(words[np.int64(coder[3])])
            coder[3] += np.uint64(1)
        coder[0], coder[1], coder[2] = lower, width, point
    return answer


@_kernel
def code_positions(state, tree, tokens, odds, first, shortest, longer, alone, intervals, frequencies, coder, words):  # type: ignore[no-untyped-def]
    """Codes [streams, n] tokens from position ``first``; returns the number of decisions, or -1 if decoding fails.

    One kernel for both directions: they cannot differ, and are compiled once. Encoding, where ``words`` is empty,
    reads ``tokens`` and odds [streams, n, depth] int16, and writes (cumulative, frequency) of every decision into
    ``intervals`` [2, decisions]. Decoding writes ``tokens``, from the words of ``coder`` (see ``_decide``) and the
    model's frequencies [streams, vocabulary], of one position at a time. Where ``alone``, neither odds nor
    frequencies are looked at.
    """
    decoding, count = words.size > 0, 0
    for column in range(tokens.shape[1]):
        position = first + column
        for stream in range(tokens.shape[0] if position < shortest else longer):
            _open(state, stream, position, alone)
            _fetch(state, 0)
            node, depth, start = np.int64(0), 0, np.int64(0)
            leaf, whole, below, own = np.int64(0), np.int64(TOTAL), np.int64(0), np.int64(0)
            if not decoding:
                start = np.int64(state.path_start[tokens[stream, column]])
            while node >= 0:
                if not alone:
                    if decoding:
                        below = np.int64(0)
                        for i in range(leaf, tree.middle[node]):
                            below += frequencies[stream, tree.order[i]]
                        own = (_logarithm(whole - below, tree.logarithm) - _logarithm(below, tree.logarithm)) >> 2
                    else:
                        own = np.int64(odds[stream, column, depth])
                share = _predict(state, node, depth, own)
                if decoding:
                    right = np.int64(_decide(coder, words, share))
                    if right < 0:
                        return np.int64(-1)
                else:
                    right = np.int64(state.path_bit[start + depth])
                    intervals[0, count] = TOTAL - share if right else 0
                    intervals[1, count] = share if right else TOTAL - share
                count += 1
                following = np.int64(tree.right[node] if right else tree.left[node])
                if following >= 0:
                    _fetch(state, following)
                _learn(state, node, right)
                if right:
                    leaf, whole = np.int64(tree.middle[node]), whole - below
                else:
                    whole = below
                node = following
                depth += 1
            tokens[stream, column] = ~node
            _close(state, stream, position, ~node)
    return np.int64(count)
