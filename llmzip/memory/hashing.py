"""The hash of both versions of the memory, on Python integers. Imports nothing of ours; imported by the definitions."""

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
SECOND = 0xBF58476D1CE4E5B9


def mix(a: int, b: int) -> int:
    """Two numbers of 64 bits to one."""
    value = (a * GOLDEN + b + 0x632BE59BD9B4E019) & MASK
    value = ((value ^ value >> 29) * SECOND) & MASK
    return value ^ value >> 32


def salted(hashed: int, node: int) -> int:
    """A context's hash to that of the context at a node of the tree."""
    value = ((hashed ^ ((node + 1) * GOLDEN & MASK)) * SECOND) & MASK
    return value ^ value >> 32
