"""What a model costs besides its archives, and what its training amounts to as compression. Formulas only.

Each function says its source and a worked number, which a test repeats. Reads no files and prints nothing. May
import nothing of llmzip but ``errors``; ``bench`` and ``cli`` import it.

In what follows a *receiver* is who decompresses. Before the first archive it must hold the parameters, the tokenizer
and the decoder; these bytes are not in any archive, but they had to be sent once.
"""

import math
from collections.abc import Iterable

import zstandard

from llmzip.errors import UsageError

NOMINAL_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
"""Bytes a parameter takes when it is stored as that type, without any header."""

CAPACITY_BITS_PER_PARAMETER = 3.6
"""What a parameter of a GPT-style model was measured to memorise at most (Morris et al. 2025, arXiv 2505.24832)."""


def adjusted_bits_per_byte(archive_bytes: int, receiver_bytes: int, original_bytes: int) -> float:
    """8 * (archive_bytes + receiver_bytes) / original_bytes: the rate with what the receiver holds counted.

    The adjusted rate of Delétang et al. (ICLR 2024, arXiv 2309.10668) in bits per byte. Worked: Chinchilla 70B makes
    83,000,000 bytes of the 10^9 of enwik9 (8.3 %, 0.664 bits per byte). Its 70 * 10^9 parameters of 2 bytes are
    140 times the file, so that the adjusted rate is 14,008.3 %: 1,120.664 bits per byte. Raises UsageError for an
    empty original.
    """
    _require(original_bytes > 0, "an empty original has no bits per byte: leave it out")
    return 8 * (archive_bytes + receiver_bytes) / original_bytes


def break_even_bytes(receiver_bytes: int, model_bpb: float, codec_bpb: float) -> float | None:
    """How many bytes of text make the model, with ``receiver_bytes`` counted, as small as the codec. None: never.

    receiver_bytes = n * (codec_bpb - model_bpb) / 8, solved for n. Worked: ts_zip holds 169 * 10^6 bytes (RWKV 169M,
    8 bits a parameter) and codes enwik9 with 1.084 bits per byte, xz with 1.707: it pays from 2.17 * 10^9 bytes on,
    more than twice enwik9 (bellard.org/ts_zip).
    """
    gain = codec_bpb - model_bpb
    return 8 * receiver_bytes / gain if gain > 0 else None


def total_bytes(archive_bytes: int, receiver_bytes: int) -> int:
    """Archive, zipped decoder and parameters: what the Large Text Compression Benchmark and the Hutter Prize count.

    Worked: fx2-cmix, the Hutter record of October 2024, is a decoder of 441,463 bytes that needs no parameters and an
    archive of 110,351,665 bytes of enwik9: 110,793,128 in all, 0.886 bits per byte (hutter1.net/prize/hrules.htm).
    """
    return archive_bytes + receiver_bytes


def nominal_parameter_bytes(parameter_count: int) -> dict[str, int]:
    """The bytes of so many parameters by type. Worked: 70 * 10^9 in bf16 are 140 * 10^9 bytes (Llama 2 70B)."""
    return {name: size * parameter_count for name, size in NOMINAL_BYTES.items()}


def zstd_bytes(data: bytes) -> int:
    """Bytes that zstd -19 makes of ``data``: how far stored parameters can still be squeezed without loss.

    Weights hardly yield: for bf16 the best lossless coders reach a factor of about 1.5, since the exponents repeat
    and the rest is noise. Worked: ``bytes(1000)`` becomes less than 30 bytes.
    """
    return len(zstandard.ZstdCompressor(level=19).compress(data))


def training_ratio(training_bytes: float, parameter_bytes: int) -> float:
    """Training text / parameters, both in bytes: "a zip file of the internet", which is lossy.

    Worked: Llama 2 70B turned about 10 * 10^12 bytes into 140 * 10^9: 71.4 (Karpathy, "Intro to Large Language
    Models", November 2023, who says "roughly 100x").
    """
    _require(parameter_bytes > 0, "a model without parameters has no ratio: give their number")
    return training_bytes / parameter_bytes


def text_bits_per_parameter(training_bytes: float, parameter_count: int) -> float:
    """Bits of training text that each parameter stands for. Worked: 8 * 10^13 bits / 70 * 10^9 = 1,143."""
    _require(parameter_count > 0, "a model without parameters has no bits a parameter: give their number")
    return 8 * training_bytes / parameter_count


def residual_bytes(token_count: float, nats_per_token: float) -> float:
    """The training text coded with the finished model: tokens * loss, in bytes.

    Worked: 2 * 10^12 tokens at 1.5 nats are 541 * 10^9 bytes (Llama 2 70B; its loss is read off figure 5 of Touvron et
    al. 2023, arXiv 2307.09288, so it is good to a few hundredths).
    """
    return token_count * nats_per_token / math.log(2) / 8


def two_part_bytes(parameter_bytes: int, residual: float) -> float:
    """The parameters, and the training text coded with them: the size of the *lossless* zip.

    L(D) = L(model) + L(D | model), the two-part code of minimum description length (Rissanen 1978; for networks
    Blier and Ollivier 2018, arXiv 1802.07044). Worked: Llama 2 70B 140 * 10^9 + 541 * 10^9 = 681 * 10^9 bytes, a
    14.7th of the text, of which the parameters are 21 %.
    """
    return parameter_bytes + residual


def verbatim_capacity_bytes(parameter_count: int) -> float:
    """Bytes that the parameters can hold word for word, at most: 3.6 bits each (Morris et al. 2025).

    Worked: 70 * 10^9 parameters hold 31.5 * 10^9 bytes, 0.3 % of 10 * 10^12 bytes of text.
    """
    return CAPACITY_BITS_PER_PARAMETER * parameter_count / 8


def prequential_bits(batch_bits: Iterable[float]) -> float:
    """The bits of every batch of a training run before it was learnt, added up: a code that sends no parameters.

    The receiver repeats the training as it decodes, so it needs the program and the seed, but no model (Dawid 1984;
    Blier and Ollivier 2018). Worked: batches of 900, 500 and 300 bits are 1,700. NNCP is such a code as a program:
    enwik9 in 106,632,363 bytes, 0.853 bits per byte (Bellard, version 3.2).
    """
    return math.fsum(batch_bits)


def _require(holds: bool, remedy: str) -> None:
    if not holds:
        raise UsageError(remedy)
