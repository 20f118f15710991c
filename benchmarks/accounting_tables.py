"""The tables of ``docs/accounting.md``: ``python benchmarks/accounting_tables.py`` rewrites them in place.

From the cards and logs of the embedded rungs, and from ``results/fair-rival.json``. A test fails when the document says
anything else.
"""

import re
from pathlib import Path

from llmzip.bench.known_models import account, find_model
from llmzip.bench.results import Results
from llmzip.predictors import embedded_rungs

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "accounting.md"
FAIR_RIVAL = ROOT / "benchmarks" / "results" / "fair-rival.json"


def rung_table() -> str:
    """What training made of its text, for every embedded rung."""
    lines = [
        "| | parameters | as stored | zstd -19 | text | lossy | lossless | word for word, at most | prequential |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for rung in embedded_rungs():
        found = account(find_model(rung.name))
        facts = found.facts
        text, squeezed = facts.training_bytes or 0, facts.zstd_bytes or 0
        figures = (
            f"{facts.parameter_count:,}",
            f"{facts.parameter_bytes / 1e6:.2f} MB",
            f"{squeezed / 1e6:.2f} MB",
            f"{text / 1e6:.1f} MB",
            f"{found.training_ratio or 0:.1f} x",
            f"{(found.two_part_bytes or 0) / 1e6:.1f} MB, {found.two_part_ratio or 0:.2f} x",
            f"{found.verbatim_share or 0:.2%}",
            f"{(found.prequential_bytes or 0) / 1e6:.1f} MB, {text / (found.prequential_bytes or 1):.2f} x",
        )
        lines.append(f"| {rung.name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def fair_rival_table() -> str:
    """Bits per byte of plain and primed codecs, beside those of the models (of held-out texts from their cards)."""
    results = Results.from_json(FAIR_RIVAL.read_text(encoding="utf-8"))
    cards = {rung.name: rung.bits_per_byte for rung in embedded_rungs()}
    names = [codec.name for codec in results.codecs]
    groups = {"corpora, all files": [file.name for file in results.files if file.name.startswith("corpora/")]}
    groups |= {f"held-out {file.kind}": [file.name] for file in results.files if not file.name.startswith("corpora/")}
    lines = ["| text | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for label, members in groups.items():
        figures = []
        for name in names:
            rows = [row for row in results.rows if row.codec == name and row.file in members]
            card = cards.get(name.removeprefix("llmzip "), {})
            if rows:
                figures.append(f"{8 * sum(r.archive_bytes for r in rows) / sum(r.original_bytes for r in rows):.3f}")
            else:
                kind = label.removeprefix("held-out ")
                figures.append(f"{card[kind]:.3f}" if kind in card else "-")
        lines.append(f"| {label} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def with_tables(document: str) -> str:
    """The document with its tables put between their marks."""
    for name, table in (("rungs", rung_table()), ("fair-rival", fair_rival_table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        document = re.sub(pattern, lambda match, table=table: match[1] + table + "\n" + match[2], document, flags=re.S)
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
