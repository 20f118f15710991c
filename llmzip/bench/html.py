"""Pages to look at: the heatmap of a text. Each is one file that opens without a network.

May import the rest of ``bench``; ``cli`` imports it.
"""

from llmzip.bench.heatmap import LEVEL_BITS, Heatmap, cells, level, shown_bytes, visible
from llmzip.bench.pages import data_block, fill

DEAREST = 25


def level_labels() -> list[str]:
    """What each colour of a heatmap stands for, in bits."""
    bounds = ["0", *map(str, LEVEL_BITS)]
    return [f"{low}–{high}" for low, high in zip(bounds, bounds[1:], strict=False)] + [f"≥ {bounds[-1]}"]


def render_heatmap(heatmap: Heatmap, *, name: str) -> str:
    """The page of a heatmap; ``name`` is what it calls the text. Raises UsageError without the extra ``report``."""
    tokens, places = heatmap.tokens, list(cells(heatmap.tokens))
    cell_of = [index for index, cell in enumerate(places) for _ in range(cell.first, cell.end)]
    dearest = heatmap.dearest(DEAREST)
    anchors = {cell_of[index] for index in dearest}
    pieces: dict[bytes, int] = {}  # every text is said once
    records = []
    for token in tokens:
        others: list[int | float] = []
        for other in token.alternatives:
            others += (pieces.setdefault(other.content, len(pieces)), float(f"{other.probability:.3g}"))
        piece = pieces.setdefault(token.content, len(pieces))
        records.append([piece, token.offset, round(token.bits, 3), round(token.model_bits, 3), others])
    data = {
        "memory": heatmap.memory,
        "pieces": [shown_bytes(piece) for piece in pieces],
        "cells": [cell.first for cell in places],
        "tokens": records,
    }
    return fill(
        "heatmap",
        name=visible(name),
        heatmap=heatmap,
        levels=level_labels(),
        cells=[
            {
                "index": index,
                "text": visible(cell.text),
                "level": level(sum(token.bits for token in tokens[cell.first : cell.end])),
                "anchor": index in anchors,
            }
            for index, cell in enumerate(places)
        ],
        dearest=[
            {
                "cell": cell_of[index],
                "text": shown_bytes(tokens[index].content),
                "bits": tokens[index].bits,
                "model_bits": tokens[index].model_bits,
                "offset": tokens[index].offset,
                "expected": [
                    (shown_bytes(other.content), f"{other.probability:.1%}") for other in tokens[index].alternatives[:3]
                ],
            }
            for index in dearest
        ],
        data=data_block(data),
    )
