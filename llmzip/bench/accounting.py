"""What the parameters cost: bits per byte with everything counted that a receiver must already hold.

Arithmetic only. Imports nothing of ours; the rest of ``bench`` and ``cli`` import it.
"""


def adjusted_bits_per_byte(archive_bytes: int, receiver_bytes: int, original_bytes: int) -> float:
    """8 * (archive + receiver) / original: an archive of 250 and a receiver of 750 for 1,000 bytes are 8.0."""
    return 8 * (archive_bytes + receiver_bytes) / original_bytes


def break_even_bytes(receiver_bytes: int, model_bpb: float, codec_bpb: float) -> float | None:
    """The corpus size from which the model pays for its receiver; None where it never does.

    8 * receiver / (codec - model): 6,000,000 bytes at 1.8 against 3.0 bits per byte are paid back after 40,000,000.
    """
    saved = codec_bpb - model_bpb
    return 8 * receiver_bytes / saved if saved > 0 else None
