"""Version 2 of the memory: its definition, in plain Python, slow. ``native/memory.c`` computes the same integers.

``docs/memory.md`` says it in words. What runs where no native library can be loaded. Knows no coder: a frame's loop is
in ``mixing``, its only importer. May import the rest of ``memory``.
"""

import numpy as np

from llmzip.memory import layout
from llmzip.memory.hashing import mix, salted
from llmzip.memory.layout import CONTEXTS, CORRECTED, COUNTERS, INPUTS, WEIGHT_LIMIT, Beginning
from llmzip.memory.tables import LIMIT, cost_table, squash_table, stretch_table
from llmzip.memory.text import BYTE_CLASS, Match, StreamText
from llmzip.memory.tree import TokenTree

TOTAL = 1 << 24
LEAST = 64  # of 2^24: no decision is surer
SLOW, FAST = 400, 3000  # learning rates of weights, of 2^16
HALVING, SET_HALVING = 2000, 60
USES_LIMIT = 4095
FINAL_RATE = 60
BIAS = 77  # the last input, 0.3 nat
FINAL_LIMIT = 1 << 24
CERTAIN = (1 << 22) - 1
MISS_LIMIT = 16
COST_BOUNDS = (77, 384, 1280)  # 0.3, 1.5 and 5 bits


def _within(value: int, limit: int) -> int:
    return max(-limit, min(limit, value))


def _rounded(value: int, bits: int) -> int:
    """value / 2^bits, to the nearest; halves upwards."""
    return (value + (1 << (bits - 1))) >> bits


def _by_depth(depth: int, second: int, third: int) -> int:
    return 0 if depth == 0 else 1 if depth < second else 2 if depth < third else 3


class _Slot:
    """Counts the answers of one context at one node: probability of "right" of 2^22, correction in 1/4096 nat."""

    __slots__ = ("check", "correction", "count", "probability")

    def __init__(self, check: int, count: int = 0, probability: int = 1 << 21) -> None:
        self.check, self.count, self.probability, self.correction = check, count, probability, 0


class Reference:
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
        self._length = -(-token_count // streams)
        self._mask = (1 << layout.slot_bits(token_count)) - 1
        self._squash, self._stretch, self._cost = (
            table.tolist() for table in (squash_table(), stretch_table(), cost_table())
        )
        self._path_start, self._path_bit = tree.path_start.tolist(), tree.path_bit.tolist()
        self._node_row = tree.node_row.tolist()
        self._history = [[0] * self._length for _ in range(streams)]
        self._text = [StreamText() for _ in range(streams)]
        self._slots: list[dict[int, _Slot]] = [{} for _ in range(CONTEXTS)]
        self._unigram = [_Slot(0, layout.UNIGRAM_COUNT, slot >> 42) for slot in first.unigram.tolist()]
        self._followers: dict[int, tuple[int, int, int]] = {}
        self._heads: list[dict[int, int]] = [{} for _ in layout.MATCH_LENGTHS]
        self.weights = first.weights.astype(np.int64)
        self.final_weights = first.final_weights.tolist()
        self.certainty, self.hit_rate = first.certainty.tolist(), first.hit_rate.tolist()
        self.uses = [0] * len(self.weights)
        identity = [self._squashed((level - 16) * 128) >> 2 for level in range(layout.LEVELS)]
        self._node_map = [identity[:] for _ in range(tree.node_rows)]
        self._byte_map = [identity[:] for _ in range(1024)]
        self._decisions = 0
        self.node = self.depth = 0
        self._inputs = np.zeros(INPUTS, np.int64)

    def _squashed(self, odds: int) -> int:
        return int(self._squash[odds + LIMIT])

    def open(self, stream: int, position: int) -> None:
        """A token begins: its contexts, and the tokens that they predict."""
        self._stream, self._position, self._at = stream, position, self._text[stream]
        self.node = self.depth = self._token_cost = 0
        self._rate = SLOW + (FAST - SLOW) * HALVING // (HALVING + self._decisions)
        self._hash_contexts()
        self._find_lines()
        text = self._at
        self._candidates: list[tuple[int, int] | None] = [self._follower(), *map(self._matched, text.matches)]
        kind, before = BYTE_CLASS[text.last], BYTE_CLASS[text.before_last]
        self._costs_row = layout.COSTS_ROW + text.costs
        self._top_row = layout.TOP_ROW + kind * 128
        self._byte_row = layout.BYTE_ROW + text.last * 4
        self._classes_row = layout.CLASSES_ROW + (before * 16 + kind) * 4
        self._field_row = layout.FIELD_ROW + min(text.field_number, 31) * 8
        self._above_row = layout.ABOVE_ROW + (kind * 16 + BYTE_CLASS[text.three_above >> 16]) * 3
        _, short, middle, _ = self._candidates
        self._final = 4 + min(middle[1] >> 3, 3) if middle else 1 + min(short[1] >> 3, 2) if short else 0

    def _hash_contexts(self) -> None:
        text, history, position, stream = self._at, self._history[self._stream], self._position, self._stream
        one, two, three, four = (history[position - back] + 1 if back <= position else 0 for back in (1, 2, 3, 4))
        pair, skipped, word = mix(one, two), mix(two, three), text.word
        triple = mix(pair, three)
        if self._alone:
            own = [mix(triple, 7), mix(skipped, 8), mix(mix(triple, four), 13)]
        else:
            own = [mix(stream, 9), mix(mix(word, stream >> 2), 10), mix(skipped, 8)]
        self._hashes = [
            mix(one, 1),
            mix(pair, 2),
            mix(word, text.word_before + 3),
            mix(mix(text.token_above, one), 4),
            mix(mix(text.field_number, text.field), text.beginning + 5),
            mix(word, 6),
            *own,
            mix(text.masked & 0xFFFFFFFF, 15),
            mix(text.masked, 26),
            mix(mix(text.masked & 0xFFFFFF, stream + (position >> 9 << 20)), 39),
            mix(mix(text.three_above, text.equals_above * 256 + text.last), 20),
            mix(mix(text.number, text.field), 31),
            mix(text.line, 17),
            mix(mix(text.bracket, one), 24),
        ]
        self._follower_key = mix(mix(text.masked, text.three_above), 54)

    def _find_lines(self) -> None:
        """For a node and the two levels below it: the line of eight slots, the check and the order, by context."""
        hashes = [salted(hashed, self.node) for hashed in self._hashes]
        self._lines = [(hashed & self._mask & ~7, hashed >> 40 & 0xFFFF, hashed >> 56 & 7) for hashed in hashes]
        self._place = 1

    def _follower(self) -> tuple[int, int] | None:
        tag, token, count = self._followers.get(self._follower_key & self._mask, (0, 0, 0))
        return (token, min(count, 63)) if tag == self._follower_key >> 48 and count else None

    def _matched(self, match: Match) -> tuple[int, int] | None:
        return (self._history[match.row][match.column], match.confidence) if match.row >= 0 else None

    def _find_slot(self, context: int) -> _Slot:
        """The slot of the node at hand or its neighbour; if it is neither, what was seen less often is taken over."""
        line, check, order = self._lines[context]
        check = (check + self._place * 0x9E37) & 0xFFFF
        place, slots = line + (self._place ^ order), self._slots[context]
        slot, other = slots.setdefault(place, _Slot(0)), slots.setdefault(place ^ 1, _Slot(0))
        if slot.check == check:
            return slot
        if other.check == check:
            return other
        if other.count < slot.count:
            place ^= 1
        slots[place] = _Slot(check)
        return slots[place]

    def _trusted(self, counter: int, slot: _Slot) -> int:
        """What a counter in this state is worth, in 1/256 nat."""
        level = max(0, min(layout.LEVELS - 1, (self._stretch[slot.probability >> 10] + 2112) >> 7))
        self._levels[counter] = (slot.count, level)
        return int(self._stretch[self.certainty[counter][slot.count][level] >> 10])

    def predict(self, odds: int) -> int:
        """The probability of "right" at the node, of 2^24. odds: the model's, in 1/256 nat; 0 where there is none."""
        inputs = [_within(odds, LIMIT)]
        self._found = [self._find_slot(context) for context in range(CONTEXTS)] + [self._unigram[self.node]]
        self._levels: list[tuple[int, int] | None] = [None] * COUNTERS
        inputs += [self._trusted(k, slot) if slot.count else 0 for k, slot in enumerate(self._found)]
        seen = sum(slot.count > 0 for slot in self._found[:CONTEXTS])
        shallow = min(self.depth, layout.DEPTHS - 1)
        self._answers: list[int | None] = [None] * layout.CANDIDATES
        for k, candidate in enumerate(self._candidates):
            if candidate is None:
                inputs.append(0)
                continue
            token, confidence = candidate
            right = self._path_bit[self._path_start[token] + self.depth]
            value = int(self._stretch[self.hit_rate[k][confidence][shallow] >> 10])
            self._answers[k] = right
            inputs.append(value if right else -value)
        inputs += [_rounded(slot.correction, 4) for slot in [*self._found[:CORRECTED], self._found[CONTEXTS]]]
        self._inputs[:] = [*inputs, BIAS]
        return self._mix(seen, shallow)

    def _mix(self, seen: int, shallow: int) -> int:
        depth, node_row = self.depth, self._node_row[self.node]
        quarter, third = _by_depth(depth, 4, 8), _by_depth(depth, 3, 7)
        self._rows = [
            layout.SEEN_ROW + seen + (COUNTERS if depth == 0 else 0),
            layout.NODE_ROW + node_row,
            self._costs_row,
            self._top_row + min(node_row, 127),
            self._byte_row + quarter,
            self._classes_row + third,
            self._field_row + shallow,
            self._above_row + min(quarter, 2),
        ]
        sums = ((self.weights[self._rows] >> 16) @ self._inputs).tolist()
        self._groups = [_within(_rounded(sum(sums[first : first + 4]), 12), LIMIT) for first in (0, 4)]
        final = self.final_weights[self._final]
        total = final[0] * self._groups[0] + final[1] * self._groups[1]
        self._mixed = _within(_rounded(total, layout.FINAL_BITS), LIMIT)
        level, part = divmod(max(0, min(4095, self._mixed + 2048)), 128)
        self._maps = (self._node_map[node_row], self._byte_map[self._at.last * 4 + third])
        self._point = level, part
        mapped = sum(entries[level] * (128 - part) + entries[level + 1] * part for entries in self._maps)
        share = (self._squashed(self._mixed) >> 1) + (mapped >> 7)
        self._share = max(LEAST, min(TOTAL - LEAST, share))
        return self._share

    def learn(self, right: int) -> int:
        """Moves all that took part towards the answer, 0 or 1; returns the next node, or ~token."""
        self._token_cost += self._cost[(self._share if right else TOTAL - self._share) >> 12]
        self._learn_weights(right << 24)
        goal = CERTAIN if right else 0
        level, part = self._point
        for entries in self._maps:
            entries[level] += _rounded((goal - entries[level]) * (128 - part) * 5, 15)
            entries[level + 1] += _rounded((goal - entries[level + 1]) * part * 5, 15)
        for k, slot in enumerate(self._found):
            self._learn_slot(k, slot, right)
        for k, candidate in enumerate(self._candidates):
            if candidate is not None:
                hit = self._answers[k] == right
                rates = self.hit_rate[k][candidate[1]]
                shallow = min(self.depth, layout.DEPTHS - 1)
                rates[shallow] += _rounded((CERTAIN if hit else 0) - rates[shallow], 7)
                if not hit:
                    self._candidates[k] = None
        self.node = int((self._tree.right if right else self._tree.left)[self.node])
        self.depth += 1
        self._decisions += 1
        self._place = self._place * 2 + right
        if self.node >= 0 and self.depth % 3 == 0:
            self._find_lines()
        return self.node

    def _learn_weights(self, answer: int) -> None:
        final, error = self.final_weights[self._final], (answer - self._squashed(self._mixed)) >> 8
        steps = []
        for group, odds in enumerate(self._groups):
            final[group] = _within(final[group] + _rounded(odds * error * FINAL_RATE, 20), FINAL_LIMIT)
            own = answer - self._squashed(odds)
            for row in self._rows[4 * group : 4 * group + 4]:
                rate = max(self._rate, SLOW + (FAST - SLOW) * SET_HALVING // (SET_HALVING + self.uses[row]))
                steps.append(_rounded(own * rate, 22))
                self.uses[row] = min(self.uses[row] + 1, USES_LIMIT)
        moved = self.weights[self._rows] + np.array(steps)[:, None] * self._inputs
        self.weights[self._rows] = moved.clip(-WEIGHT_LIMIT, WEIGHT_LIMIT)

    def _learn_slot(self, counter: int, slot: _Slot, right: int) -> None:
        goal, divisor, trusted = CERTAIN if right else 0, 2 * slot.count + 3, self._levels[counter]
        if trusted is not None:
            count, level = trusted
            values = self.certainty[counter][count]
            values[level] += _rounded(goal - values[level], 7)
        if counter < CORRECTED or counter == CONTEXTS:
            odds = _within(int(self._inputs[0]) + _rounded(slot.correction, 4), LIMIT)
            step = ((right << 24) - self._squashed(odds)) * ((32000 + slot.count + 1) // divisor)
            slot.correction = _within(slot.correction + _rounded(step, 24), LIMIT * 16)
        rate = (2 * 65536 + slot.count + 1) // divisor
        slot.probability += _rounded((goal - slot.probability) * rate, 16)
        slot.count = min(slot.count + 1, layout.COUNT_LIMIT)

    def close(self, token: int) -> None:
        """A token ends: history, follower, matches, the stream's text."""
        text, history = self._at, self._history[self._stream]
        history[self._position] = token
        self._follow(token)
        key, used = 99, 0
        for k, (match, least) in enumerate(zip(text.matches, layout.MATCH_LENGTHS, strict=True)):
            self._advance(match, least, token)
            hit = match.row >= 0 and self._hit
            if self._position + 1 >= least:
                for back in range(used, least):
                    key = mix(key, history[self._position - back])
                used = least
                place = key & self._mask
                head = self._heads[k].get(place)
                if head is not None:
                    self._try_head(match, least, head, hit=hit)
                self._heads[k][place] = self._stream * self._length + self._position
            row, column = match.row, match.column
            coded = column < self._position or (column == self._position and row <= self._stream)
            if row < 0 or column >= self._length or not coded:
                match.row, match.length, match.misses = -1, 0, 0
        text.costs = (text.costs << 2 | sum(self._token_cost >= bound for bound in COST_BOUNDS)) & 63
        for byte in self._token_bytes[token]:
            text.read(byte, token)

    def _follow(self, token: int) -> None:
        place, tag = self._follower_key & self._mask, self._follower_key >> 48
        kept_tag, kept, count = self._followers.get(place, (0, 0, 0))
        if kept_tag == tag and count and (kept == token or count > 4):
            self._followers[place] = tag, kept, min(count + 1, 250) if kept == token else count >> 2
        else:
            self._followers[place] = tag, token, 1

    def _advance(self, match: Match, least: int, token: int) -> None:
        """On to the next place; after a miss the match goes on, tries to skip or to wait, and is given up at last."""
        self._hit = False
        if match.row < 0:
            return
        row, column = self._history[match.row], match.column
        self._hit = row[column] == token
        if self._hit:
            match.length += 1
            if match.length >= 16:
                match.misses = 0
        elif match.misses < MISS_LIMIT and (match.misses or match.length >= least):
            if match.misses and column + 1 < self._length and row[column + 1] == token:
                match.column, match.length = column + 1, 1
            elif match.misses and column > 0 and row[column - 1] == token:
                match.column, match.length = column - 1, 1
            else:
                match.misses, match.length = match.misses + 1, 0
        else:
            match.row = -1
        match.column += 1

    def _try_head(self, match: Match, least: int, head: int, *, hit: bool) -> None:
        """Where the last tokens were seen before takes the place of no match, and of one with misses."""
        row, column = divmod(head, self._length)
        if match.row >= 0 and not (match.misses and (not hit or (row, column + 1) != (match.row, match.column))):
            return
        there, near, same = self._history[row], self._history[self._stream], 0
        while same < 32 and same <= min(column, self._position) and there[column - same] == near[self._position - same]:
            same += 1
        if same >= least:
            match.row, match.column, match.length, match.misses = row, column + 1, same, 0
