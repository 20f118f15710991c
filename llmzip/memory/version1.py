"""Version 1 of the memory, in plain Python: only to decode archives of llmzip 0.1, at about 1 KB a second.

Complete in itself: constants, first state without learning, contexts, mixing, in the order of ``open``, ``predict``,
``learn`` and ``close``. Never changes. ``docs/memory.md`` says how it differs from version 2. Imported by
``mixing`` and ``first_state``. May import ``hashing``, ``tables`` and ``tree``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmzip.memory.hashing import mix, salted
from llmzip.memory.tables import LIMIT, squash_table, stretch_table
from llmzip.memory.tree import TokenTree

CONTEXTS = 8  # hashed; the unigram of all streams is one more
COUNTERS = CONTEXTS + 1
PREDICTIONS = 4  # whole tokens: after 4 tokens, after 6, by a match of 4 or more, of 8 or more
INPUTS = 1 + COUNTERS + PREDICTIONS + COUNTERS
MIXERS = 2
WEIGHT_SETS = 128  # of the first mixer; the second has one a node
COUNT_LIMIT = 30
COUNT_LEVELS = 32
CERTAINTY_LEVELS = 33
DEPTH_LEVELS = 8
LINE_BYTES = 256
TOTAL = 1 << 24
LEAST = 64  # of 2^24: no decision is surer
FAST_RATE, SLOW_RATE, RATE_HALVING = 4000, 400, 2000
FINAL_RATE = 60
WEIGHT_LIMIT = 1 << 22
MATCH_LENGTHS = (4, 8)
MODEL_WEIGHT, COUNTER_WEIGHT, PREDICTION_WEIGHT, CORRECTION_WEIGHT, ALONE_WEIGHT = 65536, 6000, 14000, 6000, 10000
MAXIMUM_SLOT_BITS = 20
SEPARATORS = frozenset(b'\t ",:;<>|')
NEWLINE = 10


class Beginning(NamedTuple):
    """The arrays that do not start from nothing. Weights: 1 = 2^16; certainty and hit_rate: of 2^20."""

    weights: NDArray[np.int32]  # [MIXERS, vocabulary, INPUTS]
    final_weights: NDArray[np.int32]  # [8, MIXERS]
    certainty: NDArray[np.int32]  # [COUNTERS, COUNT_LEVELS, CERTAINTY_LEVELS]
    hit_rate: NDArray[np.int32]  # [PREDICTIONS, 64, DEPTH_LEVELS]
    unigram: NDArray[np.uint64]  # [vocabulary]: probability 16 bits, correction 16 signed, free 8, count 8, check 16


def constant_beginning(vocabulary_size: int, *, alone: bool) -> Beginning:
    """The first state where none was learnt."""
    weights = np.empty((MIXERS, max(vocabulary_size, WEIGHT_SETS), INPUTS), np.int32)
    weights[:] = ALONE_WEIGHT if alone else COUNTER_WEIGHT
    weights[:, :, 0] = 0 if alone else MODEL_WEIGHT
    if not alone:
        weights[:, :, 1 + COUNTERS : 1 + COUNTERS + PREDICTIONS] = PREDICTION_WEIGHT
        weights[:, :, 1 + COUNTERS + PREDICTIONS :] = CORRECTION_WEIGHT
    count, level = np.arange(COUNT_LEVELS)[:, None], np.arange(CERTAINTY_LEVELS)[None, :]
    certainty = squash_table()[((level - 16) * 128 * (10 * count + 3)) // (10 * count + 15) + LIMIT] >> 4
    confidence = np.arange(64)[:, None]
    hits = ((1 << 20) * (10 * confidence + 7)) // (10 * confidence + 12)
    return Beginning(
        weights,
        np.full((8, MIXERS), 65536 // MIXERS, np.int32),
        np.repeat(certainty[None], COUNTERS, 0).astype(np.int32),
        np.tile(hits[None], (PREDICTIONS, 1, DEPTH_LEVELS)).astype(np.int32),
        np.full(vocabulary_size, 32768 << 48, np.uint64),
    )


def _within(value: int, limit: int) -> int:
    return max(-limit, min(limit, value))


class _Slot:
    """Counts the answers of one context at one node: probability of 2^16, correction in 1/1024 nat."""

    __slots__ = ("check", "correction", "count", "probability")

    def __init__(self, check: int, probability: int, count: int = 0) -> None:
        self.check, self.probability, self.correction, self.count = check, probability, 0, count


class _StreamText:
    """The bytes of one stream so far."""

    def __init__(self) -> None:
        self.word = self.word_before = self.field = self.beginning = 0
        self.column = self.field_number = 0
        self.line, self.line_above = [0] * LINE_BYTES, [0] * LINE_BYTES
        self.place, self.length = [-1, -1], [0, 0]

    def read(self, byte: int, token: int) -> None:
        if self.column < LINE_BYTES:
            self.line[self.column] = token + 1
        if 97 <= byte <= 122 or 65 <= byte <= 90 or byte >= 128:
            self.word = mix(self.word, byte | 32 if byte < 128 else byte)
        else:
            self.word_before = self.word or self.word_before
            self.word = 0
        if byte == NEWLINE:
            self.column = self.field_number = self.field = self.beginning = 0
            self.line, self.line_above = [0] * LINE_BYTES, self.line
            return
        if self.column < 2:
            self.beginning = self.beginning * 256 + byte
        self.column += 1
        if byte in SEPARATORS:
            self.field_number, self.field = self.field_number + 1, 0
        else:
            self.field = mix(self.field, byte)


class Version1:
    """One frame's memory: for each token ``open``, then ``predict`` and ``learn`` at each node, then ``close``."""

    def __init__(
        self,
        tree: TokenTree,
        token_bytes: tuple[bytes, ...],
        token_count: int,
        streams: int,
        first: Beginning,
        *,
        alone: bool,
    ) -> None:
        self._tree, self._token_bytes, self._alone = tree, token_bytes, alone
        self._streams, self._length = streams, -(-token_count // streams)
        self._mask = (1 << max(12, min(MAXIMUM_SLOT_BITS, (12 * token_count - 1).bit_length()))) - 1
        self._squash, self._stretch = squash_table().tolist(), stretch_table().tolist()
        self._path_start, self._path_bit = tree.path_start.tolist(), tree.path_bit.tolist()
        self._history = [0] * (streams * self._length)
        self._text = [_StreamText() for _ in range(streams)]
        self._slots: list[dict[int, _Slot]] = [{} for _ in range(CONTEXTS)]
        self._unigram = [_Slot(0, slot >> 48, slot >> 16 & 255) for slot in first.unigram.tolist()]
        self._followers: list[dict[int, tuple[int, int, int]]] = [{}, {}]
        self._heads: list[dict[int, int]] = [{}, {}]
        self._weights, self._final_weights = first.weights.astype(np.int64), first.final_weights.tolist()
        self._certainty, self._hit_rate = first.certainty.tolist(), first.hit_rate.tolist()
        self._decisions = 0
        self.node = self.depth = 0
        self._inputs = np.zeros(INPUTS, np.int64)

    def open(self, stream: int, position: int) -> None:
        """A token begins: its contexts, and the tokens that they predict."""
        self._stream, self._position, self._at = stream, position, self._text[stream]
        self.node = self.depth = 0
        text, here = self._at, stream * self._length + position
        one, two, three, four, five, six = (
            self._history[here - back] + 1 if back <= position else 0 for back in range(1, 7)
        )
        pair, word = mix(one, two), text.word
        triple = mix(pair, three)
        fourfold = mix(triple, four)
        above = text.line_above[min(text.column, LINE_BYTES - 1)]
        if self._alone:
            own = [mix(triple, 7), mix(mix(two, three), 8)]
        else:
            own = [mix(stream, 9), mix(mix(word, stream >> 2), 10)]
        self._hashes = [
            mix(one, 1),
            mix(pair, 2),
            mix(word, text.word_before + 3),
            mix(mix(above, one), 4),
            mix(mix(text.field_number, text.field), text.beginning + 5),
            mix(word, 6),
            *own,
        ]
        self._keys = [mix(fourfold, 11), mix(mix(mix(fourfold, five), six), 12)]
        self._candidates: list[tuple[int, int] | None] = [*map(self._follower, (0, 1)), *map(self._matched, (0, 1))]

    def _follower(self, k: int) -> tuple[int, int] | None:
        tag, token, count = self._followers[k].get(self._keys[k] & self._mask, (0, 0, 0))
        return (token, min(count, 63)) if tag == self._keys[k] >> 48 and count else None

    def _matched(self, k: int) -> tuple[int, int] | None:
        place, length = self._at.place[k], self._at.length[k]
        return (
            (self._history[place], length if length < 16 else min(16 + (length - 16 >> 2), 31)) if place >= 0 else None
        )

    def _find_slot(self, context: int) -> _Slot:
        hashed, slots = salted(self._hashes[context], self.node), self._slots[context]
        place, check = hashed & self._mask, hashed >> 40 & 0xFFFF
        slot, other = slots.setdefault(place, _Slot(0, 0)), slots.setdefault(place ^ 1, _Slot(0, 0))
        if slot.check == check:
            return slot
        if other.check == check:
            return other
        if other.count < slot.count:
            place ^= 1
        slots[place] = _Slot(check, 32768)
        return slots[place]

    def predict(self, odds: int) -> int:
        """The probability of "right" at the node, of 2^24. odds: the model's, in 1/256 nat; 0 where there is none."""
        self._found = [self._find_slot(context) for context in range(CONTEXTS)] + [self._unigram[self.node]]
        self._levels: list[int | None] = [None] * COUNTERS
        inputs, seen = [odds], 0
        for k, slot in enumerate(self._found):
            if not slot.count and k < CONTEXTS:
                inputs.append(0)
                continue
            seen += k < CONTEXTS
            level = max(0, min(CERTAINTY_LEVELS - 1, (self._stretch[slot.probability >> 4] + 2112) >> 7))
            self._levels[k] = level
            inputs.append(self._stretch[self._certainty[k][slot.count][level] >> 8])
        self._answers: list[int | None] = [None] * PREDICTIONS
        shallow = min(self.depth, DEPTH_LEVELS - 1)
        for k, candidate in enumerate(self._candidates):
            if candidate is None:
                inputs.append(0)
                continue
            token, confidence = candidate
            right = self._path_bit[self._path_start[token] + self.depth]
            value = self._stretch[self._hit_rate[k][confidence][shallow] >> 8]
            self._answers[k] = right
            inputs.append(value if right else -value)
        self._inputs[:] = inputs + [slot.correction >> 2 for slot in self._found]
        known = sum((self._candidates[k] is not None) << k for k in (0, 1))
        self._sets = [seen * 4 + known + (64 if self.depth == 0 else 0), self.node]
        self._odds = [
            _within(int(self._weights[mixer, self._sets[mixer]] @ self._inputs) >> 16, LIMIT) for mixer in range(MIXERS)
        ]
        _, _, third, fourth = self._candidates
        self._final = 4 + min(3, fourth[1] >> 3) if fourth else 1 + min(2, third[1] >> 3) if third else 0
        weighted = sum(weight * odds for weight, odds in zip(self._final_weights[self._final], self._odds, strict=True))
        self._mixed = _within(weighted >> 16, LIMIT)
        return max(LEAST, min(TOTAL - LEAST, int(self._squash[self._mixed + LIMIT])))

    def learn(self, right: int) -> int:
        """Moves all that took part towards the answer, 0 or 1; returns the next node, or ~token."""
        answer = right << 24
        error = (answer - self._squash[self._mixed + LIMIT]) >> 8
        self._decisions += 1
        rate = SLOW_RATE + (FAST_RATE - SLOW_RATE) * RATE_HALVING // (RATE_HALVING + self._decisions)
        for mixer, odds in enumerate(self._odds):
            self._final_weights[self._final][mixer] += (odds * error * FINAL_RATE) >> 24
            own, weights = (answer - self._squash[odds + LIMIT]) >> 8, self._weights[mixer, self._sets[mixer]]
            weights += (self._inputs * (own * rate) + (1 << 23)) >> 24
            weights.clip(-WEIGHT_LIMIT, WEIGHT_LIMIT, out=weights)
        for k, slot in enumerate(self._found):
            self._learn_slot(k, slot, right)
        for k, candidate in enumerate(self._candidates):
            if candidate is not None:
                rates, shallow = self._hit_rate[k][candidate[1]], min(self.depth, DEPTH_LEVELS - 1)
                hit = self._answers[k] == right
                rates[shallow] += ((1048575 if hit else 0) - rates[shallow]) >> 6
                if not hit:
                    self._candidates[k] = None
        self.node = int((self._tree.right if right else self._tree.left)[self.node])
        self.depth += 1
        return self.node

    def _learn_slot(self, counter: int, slot: _Slot, right: int) -> None:
        level, divisor = self._levels[counter], 2 * slot.count + 3
        if level is not None:
            values = self._certainty[counter][slot.count]
            values[level] += ((1048575 if right else 0) - values[level]) >> 6
        slot.probability += ((65535 if right else 0) - slot.probability) * 2 // divisor
        corrected = _within(int(self._inputs[0]) + (slot.correction >> 2), LIMIT)
        error = ((right << 24) - self._squash[corrected + LIMIT]) >> 8
        slot.correction += error * 500 // (divisor << 12)
        slot.correction = max(-32768, min(32767, slot.correction))
        slot.count = min(slot.count + 1, COUNT_LIMIT)

    def close(self, token: int) -> None:
        """A token ends: history, followers, matches, the stream's text."""
        self._history[self._stream * self._length + self._position] = token
        for k, key in enumerate(self._keys):
            self._follow(k, key, token)
        for k, least in enumerate(MATCH_LENGTHS):
            self._match(k, least, token)
        for byte in self._token_bytes[token]:
            self._at.read(byte, token)

    def _follow(self, k: int, key: int, token: int) -> None:
        place, tag = key & self._mask, key >> 48
        kept_tag, kept, count = self._followers[k].get(place, (0, 0, 0))
        if kept_tag == tag and count and (kept == token or count > 4):
            self._followers[k][place] = tag, kept, min(count + 1, 250) if kept == token else count >> 2
        else:
            self._followers[k][place] = tag, token, 1

    def _match(self, k: int, least: int, token: int) -> None:
        text, history, position = self._at, self._history, self._position
        here = self._stream * self._length + position
        place, length = text.place[k], text.length[k]
        if place >= 0 and history[place] == token:
            place, length = place + 1, length + 1
        else:
            place, length = -1, 0
        if position + 1 >= least:
            key = 99
            for back in range(least):
                key = mix(key, history[here - back])
            head = self._heads[k].get(key & self._mask, -1)
            if place < 0 and head >= 0:
                same, most = 0, min((head - 1) % self._length, position)
                while same < 32 and same <= most and history[head - 1 - same] == history[here - same]:
                    same += 1
                if same >= least:
                    place, length = head, same
            self._heads[k][key & self._mask] = here + 1
        row, column = divmod(place, self._length)
        coded = column < position or (column == position and row <= self._stream)
        if place < 0 or row >= self._streams or not coded:
            place, length = -1, 0
        text.place[k], text.length[k] = place, length
