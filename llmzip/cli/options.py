"""The options that several commands share, as types for their parameters. Only ``cli`` imports it."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmzip.errors import UsageError

if TYPE_CHECKING:
    from llmzip.predictors import Arithmetic

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", hidden=True),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="An embedded model, a model folder, a .gguf file, organisation/name[@revision] of the hub, smollm2, "
        "ollama:NAME, lmstudio:NAME; BASE+ADAPTER for LoRA.",
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact", help="Integer arithmetic, whose archives decode anywhere: the default where a model allows it."
    ),
]
Float = Annotated[
    bool, typer.Option("--float", help="Transformers, whose archives decode where it computes alike: the default else.")
]
Portable = Annotated[
    bool,
    typer.Option("--portable", help="For a float model: archives that decode wherever it computes nearly alike."),
]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="Of a float model: cpu, cuda, cuda:1, mps, or auto for all.")
]
Dtype = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="Of a float model: float32 if left out, bfloat16, float16 or float64."),
]
Context = Annotated[
    int | None,
    typer.Option(
        metavar="TOKENS",
        help="Of an exact model trained elsewhere: how far full attention looks back; 1024 if left out.",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing: only models that are here already.")]
Stdout = Annotated[bool, typer.Option("--stdout", "-c", help="Write to standard output.")]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to this file; - for standard output."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files and skip precautions.")]
Remove = Annotated[
    bool,
    typer.Option(
        "--rm/--keep",
        " /-k",
        help="Remove each source once its result is checked and on disk; or keep it, as else.",
    ),
]
NoMemory = Annotated[bool, typer.Option("--no-memory", help="The model alone, without memory of the text at hand.")]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        "-T",
        metavar="N",
        min=0,
        help="Threads; 0 for all cores. Never changes what an exact model writes.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: a line for each frame.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def chosen_arithmetic(*, exact: bool, as_float: bool, portable: bool = False) -> "Arithmetic":
    """What --exact, --float and --portable ask for. UsageError where they contradict each other."""
    if exact and as_float:
        raise UsageError("--exact and --float both choose the arithmetic: leave one out")
    if exact and portable:
        raise UsageError("--exact archives are portable: leave --portable out")
    return "exact" if exact else "portable" if portable else "float" if as_float else "auto"
