"""The options that several commands share, as types for their parameters. Only ``cli`` imports it."""

from typing import Annotated

import typer

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", hidden=True),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="An embedded model's name, or a model folder."),
]
Stdout = Annotated[bool, typer.Option("--stdout", "-c", help="Write to standard output.")]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to this file; - for standard output."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files and skip precautions.")]
Remove = Annotated[bool, typer.Option("--rm", help="Remove each source once its result is checked and on disk.")]
Threads = Annotated[
    int,
    typer.Option("--threads", "-T", metavar="N", min=0, help="Threads; 0 for all cores. Never changes the output."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: a line for each frame.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
