"""``llmzip export``: a model as two files. Only ``cli`` imports it."""

from pathlib import Path
from typing import Annotated

import typer

from llmzip.cli.files import open_target
from llmzip.cli.messages import STANDARD, say, shown
from llmzip.cli.options import Force, Quiet
from llmzip.errors import ModelError, UsageError

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An embedded model, or an exact model's folder.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the two files go; made if it is not there.")]


def export(model: Model, folder: Folder, force: Force = False, quiet: Quiet = False) -> None:
    """Write MODEL as two files, params.bin and run.c: the parameters, and the program that decodes with them.

    cc -O3 -o run run.c -lm, then ./run params.bin archive.llmz > text.
    """
    from llmzip.model_folder import read_config
    from llmzip.predictors import archive_name, find_model_folder
    from llmzip.predictors.wide import is_for_version_1
    from llmzip.standalone.writing import PROGRAM, params_of

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{shown(str(folder))} is a file: name a folder")
    targets = {"params.bin": b"", PROGRAM.name: PROGRAM.read_bytes()}
    if not force and (there := [name for name in targets if (folder / name).exists()]):
        raise UsageError(f"{shown(str(folder / there[0]))} exists: overwrite it with -f, or name another folder")
    path = find_model_folder(model, offline=True)
    if path.is_file() or not is_for_version_1(read_config(path)):
        raise ModelError(
            f"{shown(model)} runs by version 2 of the exact arithmetic, which {PROGRAM.name} does not know yet: "
            "export an embedded model"
        )
    targets["params.bin"] = params_of(path, archive_name(Path(model)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in targets.items():
        with open_target(str(folder / name), STANDARD, force=True) as file:
            file.write(content)
    if not quiet:
        sizes = " and ".join(f"{name} ({len(content):,} bytes)" for name, content in targets.items())
        say(f"{shown(str(folder))}: {sizes}")
