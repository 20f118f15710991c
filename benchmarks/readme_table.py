"""The README's tables, from committed results: ``python benchmarks/readme_table.py`` rewrites them in place.

``results/corpora.json`` is the output of ``llmzip bench corpora -m nano -m small -m base --output``; the held-out
figures are those of the model cards. A test fails when the README says anything else.
"""

import json
import re
from pathlib import Path

from llmzip.bench.results import Results

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "corpora.json"
EMBEDDED = ROOT / "llmzip" / "embedded"
CLASSICAL_HELD_OUT = {  # zstd -19, xz -9e, 7-Zip PPMd -mx9, bzip3, run on the held-out texts, bits per byte
    "prose": (2.499, 2.475, 2.083, 2.019),
    "web": (2.290, 2.243, 1.968, 1.978),
    "markup": (1.447, 1.377, 1.282, 1.359),
    "other-language": (2.601, 2.455, 2.196, 2.162),
}


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
    """Bits per byte of the held-out texts, from the model cards."""
    cards = {path.parent.name: json.loads(path.read_text()) for path in EMBEDDED.glob("*/card.json")}
    cards = dict(sorted(cards.items(), key=lambda item: item[1]["parameters"]))
    lines = [
        "| kind | zstd -19 | xz -9e | PPMd | bzip3 | " + " | ".join(cards) + " |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(cards),
    ]
    for kind, classical in CLASSICAL_HELD_OUT.items():
        figures = [*classical, *(card["held_out_bits_per_byte"][kind] for card in cards.values())]
        lines.append(f"| {kind} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)


def with_tables(readme: str) -> str:
    """The README with both tables put between their marks."""
    for name, table in (("corpora", corpora_table()), ("held-out", held_out_table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        readme = re.sub(pattern, lambda match, table=table: match[1] + table + "\n" + match[2], readme, flags=re.S)
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
