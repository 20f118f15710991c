"""``probe memory``: memorised or generated? A map of a text by what zstd needs against what the model needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import zstandard
from numpy.typing import NDArray

from llmzip.documents import Name, decode
from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.probes import extraction, membership
from llmzip.probes.continuations import continuation_bits
from llmzip.probes.record import Figure, Finding, Plot, Series, Table, figure, probed, read_input
from llmzip.probes.rows import TokenRows, byte_chunks, token_rows
from llmzip.probes.statistics import chunk_sums, rank_correlation, ratio_interval

Array = NDArray[np.float64]

CHUNK_BYTES = 256
ZSTD_LEVEL = 19
CONTEXT_BYTES = 1 << 16
"""Of the text before a chunk that zstd sees; the model sees its own window of the same text."""

EXTRACTABLE_BITS = 10.0
"""A suffix cheaper than this comes up once in a thousand samples."""

NOT_SHOWN = (
    "A high ratio alone does not say that the text was in the training data: common phrases are cheap for every model. "
    "Nothing found does not say that nothing is memorised: another prefix may bring it out. An AUC without a blind "
    "baseline measures dates and topics, so none is given. Windows are of 50 tokens after 50, of this model's tokens."
)


@dataclass(frozen=True)
class Canary:
    """A secret that was put into training data, and others of its form that were not."""

    prompt: str
    secret: Name
    others: tuple[Name, ...]


def measure(
    predictor: Predictor,
    data: bytes,
    name: str,
    *,
    reference: Predictor | None = None,
    members: Sequence[bytes] = (),
    others: Sequence[bytes] = (),
    canaries: bytes = b"",
    seed: int = 0,
) -> Finding:
    """The map of a text; membership of texts with labels; exposure of canaries, JSON lines.

    Raises UsageError for an empty text, for members without others, and for lines that are no canaries.
    """
    rows = token_rows(predictor, data, name, alternatives=extraction.TOP)
    bounds = byte_chunks(rows, CHUNK_BYTES)
    starts = np.concatenate(([0], rows.byte_ends[bounds[1:] - 1]))
    model_bits = np.add.reduceat(rows.bits, bounds[:-1])
    zstd_bits = zstd_costs(data, starts)
    entropy = np.add.reduceat(rows.entropy, bounds[:-1])
    confidence = np.add.reduceat(2.0 ** -rows.likeliest_bits[:, 0], bounds[:-1]) / np.diff(bounds)
    sizes = np.diff(starts)
    ratios = zstd_bits / np.maximum(model_bits, 1e-9)
    scores = membership.scores(data, rows)
    figures = [
        figure("zstd bits / model bits", ratio_interval(zstd_bits, model_bits, seed=seed), "x", headline=True),
        figure(
            "rank correlation of that ratio with the model's entropy",
            rank_correlation(ratios, entropy / sizes),
            note="near -1: it knows what it memorised",
            headline=True,
        ),
        figure("rank correlation of that ratio with its confidence", rank_correlation(ratios, confidence)),
        figure("cost", float(rows.bits.sum()) / len(data), "bits per byte"),
        *(figure(score, value) for score, value in scores.items() if score != "loss"),
    ]
    models = [probed(predictor)]
    if reference is not None:
        other = token_rows(reference, data, name)
        # Tokenizers differ, so chunks of bytes are compared.
        own = chunk_sums(_by_byte(rows, len(data)), CHUNK_BYTES)
        figures.append(
            figure(
                "reference bits / model bits",
                ratio_interval(chunk_sums(_by_byte(other, len(data)), CHUNK_BYTES), own, seed=seed),
                "x",
            )
        )
        models.append(probed(reference))
    more, remark = _extraction(rows)
    figures += more
    chunk_table = Table(
        f"Chunks of about {CHUNK_BYTES} bytes",
        ("from byte", "zstd bits", "model bits", "ratio", "entropy", "confidence", "text"),
        tuple(
            (int(at), float(z), float(m), float(r), float(h), float(c), data[at : at + 40].decode("utf-8", "replace"))
            for at, z, m, r, h, c in zip(starts[:-1], zstd_bits, model_bits, ratios, entropy, confidence, strict=True)
        ),
    )
    tables = [chunk_table]
    inputs = [read_input(name, data)]
    if bool(members) != bool(others):
        raise UsageError("members and others are compared: name both, with --members and --others")
    if members:
        score = partial(_scores_of, predictor)
        found, table = membership.membership(sorted(members), sorted(others), score, seed=seed)
        figures += found
        tables.append(table)
        inputs += [
            read_input(what, b"\0".join(sorted(texts))) for what, texts in (("members", members), ("others", others))
        ]
    if canaries:
        figures += _exposures(predictor, canaries)
        inputs.append(read_input("canaries", canaries))
    at = tuple(float(start) for start in starts[:-1])
    plot = Plot(
        "Memorised or generated", "byte", "zstd bits / model bits", (Series("ratio", at, tuple(ratios.tolist())),)
    )
    return Finding(
        "memory",
        tuple(models),
        tuple(inputs),
        tuple(figures),
        NOT_SHOWN,
        tuple(tables),
        (plot,),
        remarks=(remark,),
        settings={"seed": seed, "chunk_bytes": CHUNK_BYTES, "zstd_level": ZSTD_LEVEL},
    )


def zstd_costs(data: bytes, starts: NDArray[np.int64]) -> Array:
    """Bits of each piece [starts[i], starts[i + 1]) for zstd that has seen what stands before it, without framing."""

    def compressed(piece: bytes, before: bytes) -> int:
        dictionary = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if before else None
        return len(
            zstandard.ZstdCompressor(
                level=ZSTD_LEVEL, dict_data=dictionary, write_content_size=False, write_dict_id=False
            ).compress(piece)
        )

    frame = compressed(b"", b"")
    return np.array(
        [
            8.0 * max(1, compressed(data[first:end], data[max(0, first - CONTEXT_BYTES) : first]) - frame)
            for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        ]
    )


def _by_byte(rows: TokenRows, length: int) -> Array:
    """[length]: each token's bits, shared evenly among its bytes."""
    sizes = np.diff(rows.byte_ends, prepend=0)
    spread = np.zeros(length)
    filled = np.repeat(rows.bits / np.maximum(sizes, 1), sizes)
    spread[: len(filled)] = filled
    return spread


def _extraction(rows: TokenRows) -> tuple[list[Figure], str]:
    found = extraction.windows(rows)
    if not len(found.bits):
        return (
            [],
            f"The text is shorter than {extraction.PREFIX_TOKENS + extraction.SUFFIX_TOKENS} tokens: no extraction.",
        )
    best = int(found.bits.argmin())
    cheapest, top = float(found.bits[best]), float(found.top_bits.min())
    figures = [
        figure(
            "cheapest suffix of 50 tokens", cheapest, "bits", note=f"from byte {found.first_byte[best]}", headline=True
        ),
        figure(
            "samples for an even chance of it", extraction.tries(cheapest), note="(n, p) with p = 0.5; – beyond 2^1000"
        ),
        figure("cheapest suffix, sampling the likeliest 40", top, "bits", note="– where a token is never among them"),
        figure("suffixes below 10 bits", 100 * float((found.bits < EXTRACTABLE_BITS).mean()), "%"),
    ]
    return figures, f"{len(found.bits)} windows of 50 + 50 tokens, {extraction.STRIDE_TOKENS} apart."


def _scores_of(predictor: Predictor, text: bytes) -> dict[str, float]:
    return membership.scores(text, token_rows(predictor, text, "a text with a label"))


def _exposures(predictor: Predictor, data: bytes) -> list[Figure]:
    lines = [line for line in data.split(b"\n") if line.strip()]
    figures = []
    for number, line in enumerate(lines, 1):
        canary = decode(line, Canary, f"canaries: line {number}", error=UsageError, remedy="mend the line")
        if not canary.others:
            raise UsageError(f"canaries: line {number} has no others: add secrets of the same form")
        bits = continuation_bits(
            predictor, [(canary.prompt.encode(), one.encode()) for one in (canary.secret, *canary.others)]
        )
        most = math.log2(len(canary.others) + 1)
        figures.append(
            figure(
                f"exposure of canary {number}",
                extraction.exposure(float(bits[0]), bits[1:]),
                "bits",
                note=f"{most:.1f} is the most that {len(canary.others)} others can show",
            )
        )
    return figures
