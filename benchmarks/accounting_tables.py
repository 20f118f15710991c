"""The tables of ``docs/accounting.md``: ``python benchmarks/accounting_tables.py`` rewrites them in place.

From the cards and logs of the embedded rungs, ``results/fair-rival.json`` and ``results/corpora.json``. A test fails
when the document says anything else.
"""

import re
from pathlib import Path

from llmzip.bench.known_models import account, find_model
from llmzip.bench.results import Results
from llmzip.predictors import embedded_rungs

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "accounting.md"
FAIR_RIVAL = ROOT / "benchmarks" / "results" / "fair-rival.json"
CORPORA = ROOT / "benchmarks" / "results" / "corpora.json"


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
    """Bits per byte of plain and primed codecs; beside them the models, of held-out texts from their cards."""
    rivals, models = (Results.from_json(path.read_text(encoding="utf-8")) for path in (FAIR_RIVAL, CORPORA))
    rungs = {f"llmzip {rung.name}": rung for rung in embedded_rungs()}
    names = [codec.name for codec in rivals.codecs]
    lines = ["| text | " + " | ".join([*names, *rungs]) + " |", "|---|" + "--:|" * (len(names) + len(rungs))]
    corpora = {file.name for file in rivals.files if file.name.startswith("corpora/")}
    figures = [_rate(rivals, name, corpora) for name in names] + [_rate(models, name, None) for name in rungs]
    lines.append(f"| corpora, {len(corpora)} files | " + " | ".join(figures) + " |")
    for file in rivals.files:
        if file.name not in corpora:
            figures = [_rate(rivals, name, {file.name}) for name in names]
            figures += [f"{rung.bits_per_byte[file.kind]:.3f}" for rung in rungs.values()]
            lines.append(f"| held-out {file.kind} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def _rate(results: Results, codec: str, files: set[str] | None) -> str:
    rows = [row for row in results.rows if row.codec == codec and (files is None or row.file in files)]
    if not rows:
        return "-"
    return f"{8 * sum(row.archive_bytes for row in rows) / sum(row.original_bytes for row in rows):.3f}"


def with_tables(document: str) -> str:
    """The document with its tables put between their marks."""
    for name, table in (("rungs", rung_table()), ("fair-rival", fair_rival_table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        document = re.sub(pattern, lambda match, table=table: match[1] + table + "\n" + match[2], document, flags=re.S)
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
