"""What version 2 of the memory remembers of one stream's bytes: words, numbers, fields, lines, brackets, matches.

Part of the definition (``reference``), which alone imports it. May import ``hashing``.
"""

from llmzip.memory.hashing import MASK, mix

LINE_BYTES = 256
"""So many bytes of a line are remembered."""

FIELDS = 32
BRACKETS = 32
BRACKET_LIMIT = 1000

NEWLINE, ZERO, SLASH, LESS, GREATER = b"\n0/<>"
SEPARATORS = frozenset(b'\t ",:;<>|')
LETTERS = frozenset([*range(0x41, 0x5B), *range(0x61, 0x7B), *range(0x80, 0x100)])
DIGITS = frozenset(b"0123456789")
TEXT, NAME, ATTRIBUTES, CLOSING = range(4)

_CLASSES = (b"\n", b" ", b"0123456789", range(0x61, 0x7B), range(0x41, 0x5B), range(0x80, 0x100), b",;:.", b"\"'",
            b"([{<", b")]}>", b"=+*", b"/\\", b"-_", b"\t")  # fmt: skip
OTHER_CLASS = len(_CLASSES)
BYTE_CLASS = [next((i for i, members in enumerate(_CLASSES) if byte in members), OTHER_CLASS) for byte in range(256)]
"""[256]: newline, space, digits, small, capitals, not ASCII, points, quotes, brackets that open, that close, signs,
slashes, dashes, tab, others."""


class Match:
    """A place in the frame's history whose token is predicted to come next."""

    def __init__(self) -> None:
        self.row, self.column, self.length, self.misses = -1, 0, 0, 0

    @property
    def confidence(self) -> int:
        """0 to 63: by length; above 31 after a miss."""
        if self.misses:
            return 32 + 8 * min(self.misses - 1, 3) + min(self.length, 7)
        return self.length if self.length < 16 else min(16 + (self.length - 16 >> 2), 31)


class StreamText:
    """The bytes of one stream so far, as far as contexts need them. Hashes and numbers are of 64 bits."""

    def __init__(self) -> None:
        self.word = self.word_before = self.field = self.beginning = self.masked = self.number = self.line = 0
        self.last = self.before_last = 0
        self.column = self.field_number = self.field_offset = 0
        self.equals_above = False
        self.costs = 0
        self.tokens: list[int] = []  # of the line at hand: token + 1 at each byte
        self.bytes: list[int] = []
        self.field_start = [0]
        self.tokens_above: list[int] = []
        self.bytes_above: list[int] = []
        self.field_start_above: list[int] = []
        self.matches = (Match(), Match(), Match())
        self._brackets = [0] * BRACKETS
        self._bracket_count = self._tag = 0
        self._tag_state = TEXT

    @property
    def bracket(self) -> int:
        """Hash of the innermost open bracket or tag, 0 for none."""
        return self._brackets[(self._bracket_count - 1) % BRACKETS] if self._bracket_count else 0

    @property
    def token_above(self) -> int:
        """The token + 1 that stands above in the line before, 0 for none."""
        column = min(self.column, LINE_BYTES - 1)
        return self.tokens_above[column] if column < len(self.tokens_above) else 0

    @property
    def three_above(self) -> int:
        """Three bytes of the line before, from the same field and offset on; 0 past its end and for no such field."""
        if self.field_number >= len(self.field_start_above):
            return 0
        place = self.field_start_above[self.field_number] + self.field_offset
        first, second, third = (self.bytes_above[place : place + 3] + [0, 0, 0])[:3]
        return first << 16 | second << 8 | third

    def read(self, byte: int, token: int) -> None:
        """Takes the next byte, which is one of ``token``."""
        if self.column < LINE_BYTES:
            self.tokens.append(token + 1)
            self.bytes.append(byte)
        if byte in LETTERS:
            self.word = mix(self.word, byte | 32 if byte < 128 else byte)
        else:
            self.word_before = self.word or self.word_before
            self.word = 0
        if byte not in DIGITS:
            self.masked = (self.masked << 8 | byte) & MASK
        else:
            if self.last not in DIGITS:
                self.masked, self.number = (self.masked << 8 | ZERO) & MASK, 0
            self.number = (self.number * 10 + byte - ZERO + 1) & MASK
        self.line = mix(self.line, byte)
        self.before_last, self.last = self.last, byte
        self._read_bracket(byte)
        if byte == NEWLINE:
            self._end_line()
        else:
            self._read_field(byte)

    def _end_line(self) -> None:
        self.tokens_above, self.bytes_above, self.field_start_above = self.tokens, self.bytes, self.field_start
        self.tokens, self.bytes, self.field_start = [], [], [0]
        self.column = self.field_number = self.field_offset = 0
        self.field = self.beginning = self.number = self.line = 0
        self.equals_above = True

    def _read_field(self, byte: int) -> None:
        if self.column < 2:
            self.beginning = self.beginning * 256 + byte
        self.column = min(self.column + 1, LINE_BYTES)
        if byte in SEPARATORS:
            self.field_number = min(self.field_number + 1, FIELDS)
            if self.field_number < FIELDS:
                self.field_start.append(self.column)
            self.field, self.field_offset, self.equals_above = 0, 0, True
            return
        place = LINE_BYTES
        if self.field_number < len(self.field_start_above):
            place = self.field_start_above[self.field_number] + self.field_offset
        if place >= len(self.bytes_above) or self.bytes_above[place] != byte:
            self.equals_above = False
        self.field = mix(self.field, byte)
        self.field_offset = min(self.field_offset + 1, LINE_BYTES)

    def _read_bracket(self, byte: int) -> None:
        pushed, popped = 0, byte in b")]}"
        if byte in b"([{":
            pushed = mix(byte, self.word_before) | 1
        if byte == LESS:
            self._tag_state, self._tag = NAME, 0
        elif self._tag_state == NAME:
            if byte == SLASH and not self._tag:
                self._tag_state = CLOSING
            elif byte == GREATER:
                self._tag_state, pushed = TEXT, self._tag
            elif byte in b" \n/":
                self._tag_state = ATTRIBUTES
            else:
                self._tag = mix(self._tag, byte)
        elif byte == GREATER:
            if self._tag_state == ATTRIBUTES and self.before_last != SLASH:
                pushed = self._tag
            popped = self._tag_state == CLOSING
            self._tag_state = TEXT
        if pushed:
            self._brackets[self._bracket_count % BRACKETS] = pushed
            self._bracket_count = min(self._bracket_count + 1, BRACKET_LIMIT)
        elif popped and self._bracket_count:
            self._bracket_count -= 1
