"""A bench, and its comparison with a baseline, in the formats of other tools. Texts only: writes no file.

JUnit for any CI, custom benchmarks of github-action-benchmark, Bencher's metric format, the names of
lm-evaluation-harness, and GitHub's step summary and annotations. May import ``bench.baseline``, ``bench.gate``,
``bench.results`` and ``errors``; ``cli`` imports it.
"""

import json
from collections.abc import Callable
from xml.etree import ElementTree

from llmzip.bench.baseline import Baseline, BaselineCodec
from llmzip.bench.gate import CodecComparison, Comparison, explanation, headline
from llmzip.bench.results import MICROBITS
from llmzip.errors import UsageError

LM_EVAL_VERSION = 1
"""Of the task's definition, as lm-evaluation-harness counts them."""


def junit(measured: Baseline, comparison: Comparison | None = None) -> str:
    """One test case for each file under each codec; a failure is a file that grew beyond the tolerance."""
    failures: dict[tuple[str, str], str] = {}
    for compared in comparison.codecs if comparison else ():
        if compared.verdict == "regressed":
            for worse in compared.regressed_files or compared.files:
                size = f"{worse.before.archive_bytes:,} -> {worse.after.archive_bytes:,} bytes"
                reason = f"{size} ({worse.growth_bytes:+,}), tolerance {compared.tolerance}"
                failures[compared.name, worse.file] = reason
    suites = ElementTree.Element("testsuites", name="llmzip")
    for name, codec in measured.codecs.items():
        count = sum(key[0] == name for key in failures)
        suite = ElementTree.SubElement(
            suites, "testsuite", name=_xml(name), tests=str(len(codec.rows)), failures=str(count), errors="0"
        )
        for file, row in codec.rows.items():
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(name), name=_xml(file))
            if (name, file) in failures:
                failure = ElementTree.SubElement(case, "failure", message=failures[name, file])
                failure.text = f"{name}, {file}: {failures[name, file]}".translate(_NOT_XML)
            output = ElementTree.SubElement(case, "system-out")
            output.text = (
                f"{row.archive_bytes} bytes, {8 * row.archive_bytes / measured.files[file].original_bytes:.4f} bpb"
            )
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


_NOT_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF), "?") | dict.fromkeys(
    range(0xD800, 0xE000), "?"
)


def _xml(text: str) -> str:
    """Without what no XML document may hold."""
    return text.translate(_NOT_XML)


def github_benchmark(measured: Baseline, comparison: Comparison | None = None) -> str:
    """For github-action-benchmark with ``tool: customSmallerIsBetter``: bits per byte of every codec in all."""
    entries = [
        {
            "name": name,
            "unit": "bits per byte",
            "value": _rate(codec, measured),
            "extra": f"{codec.archive_bytes} bytes of {measured.original_bytes}",
        }
        for name, codec in measured.codecs.items()
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def bencher(measured: Baseline, comparison: Comparison | None = None) -> str:
    """Bencher's metric format: a benchmark a codec, with the measures ``bits_per_byte`` and ``archive_bytes``."""
    entries = {
        name: {
            "bits_per_byte": {"value": _rate(codec, measured)},
            "archive_bytes": {"value": codec.archive_bytes},
        }
        for name, codec in measured.codecs.items()
    }
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def lm_eval(measured: Baseline, comparison: Comparison | None = None) -> str:
    """As lm-evaluation-harness writes results: the model's own bits, as its forward pass has them. Models only.

    A model and kind of text is a task. ``byte_perplexity`` is 2 ** bits_per_byte; ``archive_bits_per_byte`` is what
    the archive takes, memory, coder and framing included. Raises UsageError where no row says a model's own bits.
    """
    results: dict[str, dict[str, float | str]] = {}
    for name, codec in measured.codecs.items():
        for kind in (None, *dict.fromkeys(file.kind for file in measured.files.values())):
            files = {file: facts for file, facts in measured.files.items() if kind in (None, facts.kind)}
            own = [codec.rows[file].model_microbits for file in files]
            if None in own:
                continue
            original_bytes = sum(facts.original_bytes for facts in files.values())
            rate = sum(bits or 0 for bits in own) / MICROBITS / original_bytes
            task = name if kind is None else f"{name}, {kind}"
            results[task] = {
                "alias": task,
                "bits_per_byte,none": rate,
                "byte_perplexity,none": 2.0**rate,
                "archive_bits_per_byte,none": 8
                * sum(codec.rows[file].archive_bytes for file in files)
                / original_bytes,
            }
    if not results:
        raise UsageError("no row says a model's own bits: llmzip bench -m MODEL --export lm-eval=FILE measures them")
    metrics = ("bits_per_byte", "byte_perplexity", "archive_bits_per_byte")
    document = {
        "results": results,
        "versions": dict.fromkeys(results, LM_EVAL_VERSION),
        "higher_is_better": {task: dict.fromkeys(metrics, False) for task in results},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


Export = Callable[[Baseline, Comparison | None], str]

EXPORTS: dict[str, Export] = {
    "junit": junit,
    "github-benchmark": github_benchmark,
    "bencher": bencher,
    "lm-eval": lm_eval,
}
"""Format, as the command line calls it -> its text."""


def _rate(codec: BaselineCodec, measured: Baseline) -> float:
    return 8 * codec.archive_bytes / measured.original_bytes


def step_summary(measured: Baseline, comparison: Comparison | None = None) -> str:
    """Markdown for GitHub's summary of a step: a table, and what an explanation says of each change."""
    lines = ["### Bits per byte", "", "| codec | bytes | bits per byte | against the baseline |", "|---|--:|--:|---|"]
    compared = {codec.name: codec for codec in comparison.codecs} if comparison else {}
    for name, codec in measured.codecs.items():
        verdict = _summary_verdict(compared[name]) if name in compared else "not checked"
        lines.append(f"| {_cell(name)} | {codec.archive_bytes:,} | {_rate(codec, measured):.4f} | {verdict} |")
    if comparison and comparison.verdict != "equal":
        lines += ["", "```", *(line.replace("`", "'") for line in explanation(comparison)), "```"]
    return "\n".join(lines) + "\n"


def failure_summary(verdict: str, reason: str) -> str:
    """Markdown for the summary of a step in which nothing could be compared."""
    return f"### Bits per byte\n\n**{verdict}**: {_cell(reason).replace('`', chr(39))}\n"


def failure_annotation(verdict: str, reason: str) -> str:
    """GitHub's workflow command for the same."""
    return f"::error title={_property(f'bits per byte: {verdict}')}::{_message(reason)}"


def _summary_verdict(codec: CodecComparison) -> str:
    mark = "**regressed**" if codec.verdict == "regressed" else codec.verdict
    return mark if codec.verdict == "equal" else f"{mark}, {codec.growth_bytes:+,} bytes"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def annotations(comparison: Comparison) -> list[str]:
    """GitHub's workflow commands: an error for each codec that regressed, a notice for each that improved."""
    lines = []
    for codec in comparison.codecs:
        if codec.verdict in ("regressed", "improved"):
            level = "error" if codec.verdict == "regressed" else "notice"
            title = _property(f"bits per byte: {codec.name}")
            lines.append(f"::{level} title={title}::{_message(headline(codec))}")
    return lines


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
