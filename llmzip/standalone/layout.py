"""The layout of ``params.bin``: a header, then sections of plain arrays. Little-endian throughout.

The header, 256 bytes:

    ===  =========  ==================================================================================================
      0  char[8]    "LLMZPARM"
      8  u32        version of this layout
     12  u32        version of the arithmetic (docs/arithmetic.md)
     16  u32        version of the memory (docs/memory.md)
     20  u32        CRC-32 of everything after the header
     24  i32[10]    vocabulary V, hidden D, layers, heads H, key-value heads G, head size d, feed-forward F, window,
                    start token, bytes of all tokens
     64  f64        epsilon of the norms
     72  f64        theta of the rotation
     80  u8[32]     fingerprint of the model
    112  u8[32]     fingerprint of ``adaptive``, which has the same tokens and memory and no model
    144  char[64]   name, filled up with zeros
    208             zeros
    ===  =========  ==================================================================================================

The sections, each begun at a multiple of 64 bytes, zeros between:

1. tables, which follow from the specification and are here because libc's exp and sin round as they like:
   i32[1112] round(2^24 exp(-i / 64)); f32[2049] the sigmoid; i32[8705] squash; i32[4096] stretch; i32[2048]
   logarithms; i32[4096] costs;
   f64[24][2][d / 2] sines, then cosines of 1, 2, 4, ... 2^23 positions;
2. matrices, each i8[outputs][inputs] and f32[outputs], the scale of each row: the input embedding [V][D], the output
   [V][D], and of each layer queries, keys and values [(H + 2 G) d][D], attention's output [D][H d], gate and up
   [2 F][D], down [D][F]. Norms are folded in;
3. tokens: u32[V + 1] where the bytes of each begin, then the bytes of all; their tree: i32[V] tokens by leaf,
   i32[V - 1] each of middle, left, right (``memory/tree.py``) and rows in tables by node, u32[V] the answers on the way
   to each;
4. the memory's first state with a model, then alone, as ``memory/layout.py`` has it: u64[V] unigram; i32 certainty, hit
   rate and final weights, one after another; i32 weights.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = b"LLMZPARM"
LAYOUT_VERSION = 1
HEADER_BYTES = 256
ALIGNMENT = 64
TABLE_BYTES = (4 * 1112, 4 * 2049, 4 * 8705, 4 * 4096, 4 * 2048, 4 * 4096)
"""Of the first six tables."""

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("layout", "<u4"),
        ("engine", "<u4"),
        ("memory", "<u4"),
        ("check", "<u4"),
        ("sizes", "<i4", 10),
        ("norm_epsilon", "<f8"),
        ("rope_theta", "<f8"),
        ("fingerprint", "u1", 32),
        ("adaptive", "u1", 32),
        ("name", "S64"),
        ("free", "u1", 48),
    ]
)


@dataclass(frozen=True)
class Matrix:
    """Integers [outputs, inputs] int8 and the scale of each row [outputs] float32."""

    integers: NDArray[np.int8]
    scale: NDArray[np.float32]


def joined(header: NDArray[np.void], sections: Sequence[NDArray[np.generic]]) -> bytes:
    """The file: the header with its check, then the sections."""
    body = bytearray()
    for section in sections:
        body += bytes(-len(body) % ALIGNMENT)
        body += np.ascontiguousarray(section).tobytes()
    header["check"] = zlib.crc32(body)
    return header.tobytes() + bytes(body)
