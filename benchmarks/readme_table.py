"""Every measured figure of the README, from committed results: ``python benchmarks/readme_table.py`` writes them.

``results/corpora.json`` is the output of ``llmzip bench corpora -m nano -m small -m base --output``,
``results/held-out-classical.json`` that of a bench of the held-out texts with "zstd -19", "xz -9e", "ppmd -9" and
``bzip3 -e -b 16 -c``, ``results/speed-MODEL.json`` that of ``speed.py``; the models' held-out figures are those of
their cards. A test fails when the README says anything else.
"""

import json
import re
from pathlib import Path
from textwrap import fill
from typing import Any

from llmzip.bench.results import Results
from llmzip.memory import first_state
from llmzip.predictors import load_predictor

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "corpora.json"
HELD_OUT = ROOT / "benchmarks" / "results" / "held-out-classical.json"
EMBEDDED = ROOT / "llmzip" / "embedded"
HELD_OUT_CODECS = {"zstd -19": "zstd -19", "xz -9e": "xz -9e", "ppmd -9": "PPMd", "bzip3": "bzip3"}
"""In the committed result -> in the table."""


def corpora_table() -> str:
    """Bits per byte of every file in ``corpora`` and in all."""
    results = Results.from_json(RESULTS.read_text(encoding="utf-8"))
    codecs = [codec.name for codec in results.codecs]
    lines = ["| file | bytes | " + " | ".join(codecs) + " |", "|---|--:|" + "--:|" * len(codecs)]
    groups = {file.name: [row for row in results.rows if row.file == file.name] for file in results.files}
    for name, rows in {**groups, "**all**": list(results.rows)}.items():
        figures = []
        for codec in codecs:
            sizes = [(row.archive_bytes, row.original_bytes) for row in rows if row.codec == codec]
            archive_bytes, original_bytes = map(sum, zip(*sizes, strict=True))
            figures.append(f"{8 * archive_bytes / original_bytes:.3f}")
        lines.append(f"| {name} | {original_bytes:,} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def held_out_table() -> str:
    """Bits per byte of the held-out texts, from a bench of classical codecs and the model cards."""
    cards, classical = model_cards(), Results.from_json(HELD_OUT.read_text(encoding="utf-8"))
    rates = {(Path(row.file).stem, row.codec): row.bits_per_byte for row in classical.rows}
    lines = [
        "| kind | " + " | ".join([*HELD_OUT_CODECS.values(), *cards]) + " |",
        "|---|" + "--:|" * (len(HELD_OUT_CODECS) + len(cards)),
    ]
    for kind in ("prose", "web", "markup", "other-language"):
        figures = [rates[kind, codec] for codec in HELD_OUT_CODECS]
        figures += [card["held_out_bits_per_byte"][kind] for card in cards.values()]
        lines.append(f"| {kind} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)


def model_cards() -> dict[str, Any]:
    """The cards of the embedded models, the smallest first."""
    cards = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in EMBEDDED.glob("*/card.json")}
    return dict(sorted(cards.items(), key=lambda item: item[1]["parameters"]))


def sizes() -> str:
    """What the models take, and what their memory begins with."""
    found = []
    for name in model_cards():
        predictor = load_predictor(name)
        memory_bytes = first_state.stored_bytes(predictor.token_bytes)
        found.append((name, predictor.parameter_bytes - memory_bytes))
    listed = ", ".join(f"`{name}` {size / 1e6:.1f} MB" for name, size in found)
    return f"{listed}; what the memory begins with {memory_bytes / 1e6:.1f} MB more."


def speed() -> str:
    """How fast the default is beside the next larger one, from the committed runs of ``speed.py``."""
    timed = {}
    for name in model_cards():
        path = ROOT / "benchmarks" / "results" / f"speed-{name}.json"
        timed[name] = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for name, found in timed.items():
        both = found["model+memory"]
        lines.append(
            f"`{name}` {both['compress_kb_per_second']:.0f} compressing and "
            f"{both['decompress_kb_per_second']:.0f} decompressing"
        )
    text_bytes = next(iter(timed.values()))["text_bytes"]
    return f"KB a second on two cores, of {text_bytes:,} bytes of prose: {'; '.join(lines)}."


BLOCKS = {"corpora": corpora_table, "held-out": held_out_table, "sizes": sizes, "speed": speed}
"""Mark in the README -> what stands there."""


def with_tables(readme: str) -> str:
    """The README with every block put between its marks."""
    for name, block in BLOCKS.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        if not re.search(pattern, readme, re.S):
            raise ValueError(f"the README has no place for {name}")
        text = fill(block(), 120) if name in ("sizes", "speed") else block()
        readme = re.sub(pattern, lambda match, text=text: match[1] + text + "\n" + match[2], readme, flags=re.S)
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
