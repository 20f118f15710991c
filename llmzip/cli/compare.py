"""``llmzip compare``: two results or baselines, then and now. Only ``cli`` imports it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmzip.cli.gating import (
    AcrossModels,
    Exports,
    Tolerance,
    parse_exports,
    read_side,
    write_exports,
)
from llmzip.cli.messages import say, shown
from llmzip.cli.options import Json
from llmzip.cli.reporting import reporting
from llmzip.targets import check_targets, remove_old

if TYPE_CHECKING:
    from llmzip.bench.gate import CodecComparison, Comparison


@reporting
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", hidden=True)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", hidden=True)],
    tolerance: Tolerance = None,
    across_models: AcrossModels = False,
    exports: Exports = None,
    as_json: Json = False,
) -> None:
    """Compare two results of llmzip bench, or baselines: what grew beyond the tolerance, and where.

    Documents of one probe are compared figure by figure, without a verdict.

    Exit code 1 where something did, 3 where the two do not measure the same thing.
    """
    from llmzip.bench import gate
    from llmzip.cli.finding import compare_findings

    if compare_findings(before, after, as_json=as_json):
        return
    targets = parse_exports(exports)
    export_paths = [path for _, path in targets]
    check_targets(export_paths, [before, after])
    remove_old(export_paths)  # an old one would look as if this comparison had ended well
    allowed = None if tolerance is None else gate.parse_tolerance(tolerance)
    measured = read_side(after)
    comparison = gate.compare(read_side(before), measured, tolerance=allowed, across_models=across_models)
    write_exports(targets, measured, comparison)
    if as_json:
        typer.echo(json.dumps(comparison_as_json(comparison), indent=2))
    else:
        typer.echo("\n".join(map(shown, gate.explanation(comparison))))
    verdict = {"regressed": "worse", "improved": "better"}.get(comparison.verdict)
    if verdict is not None:
        say(f"llmzip: {shown(str(after))} is {verdict} than {shown(str(before))}")
    raise typer.Exit(comparison.verdict == "regressed")


def comparison_as_json(comparison: "Comparison") -> dict[str, Any]:
    """For machines: verdicts, and every file then and now."""
    return {
        "verdict": comparison.verdict,
        "unchecked": comparison.unchecked,
        "codecs": [_codec_as_json(codec) for codec in comparison.codecs],
    }


def _codec_as_json(codec: "CodecComparison") -> dict[str, Any]:
    return {
        "codec": codec.name,
        "baseline_codec": codec.baseline_name,
        "verdict": codec.verdict,
        "tolerance": str(codec.tolerance),
        "judged": "total" if codec.on_total else "files",
        "original_bytes": codec.original_bytes,
        "before_bytes": codec.before_bytes,
        "after_bytes": codec.after_bytes,
        "growth_by_kind": codec.growth_by_kind(),
        "waterfall_growth_microbits": codec.waterfall_growth(),
        "files": [asdict(file) for file in codec.files],
    }
