"""``sweep``: the checkpoints of a run on one text, as a curve. What was measured before is not measured again."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from llmzip.documents import Count, Name, NotNegative, Sha256, decode
from llmzip.errors import UsageError
from llmzip.predictor import Predictor
from llmzip.probes.record import Finding, Plot, Probed, Series, Table, figure, read_input
from llmzip.probes.rows import token_rows

NOT_SHOWN = (
    "One text says nothing of another kind. Checkpoints from before the learning rate has decayed are worse than a run "
    "that ended there, so this is no scaling law."
)


@dataclass(frozen=True)
class Checkpoint:
    """One line of the file that makes a sweep resumable."""

    name: Name
    step: Count
    """The last number in the name; the place in the sweep where it has none."""
    fingerprint: str
    text: Sha256
    bits: NotNegative


def read_lines(data: bytes, where: str) -> list[Checkpoint]:
    """What an earlier run left. A last line that was cut short is left out; DocumentError for any other."""
    lines = data.split(b"\n")
    return [decode(line, Checkpoint, f"{where}: line {number}") for number, line in enumerate(lines[:-1], 1)]


def measure(
    folders: list[str],
    load: Callable[[str], Predictor],
    data: bytes,
    name: str,
    *,
    known: Iterable[Checkpoint] = (),
    keep: Callable[[Checkpoint], None] = lambda _: None,
) -> Finding:
    """Bits per byte of each model, by step. ``keep`` gets each new line at once; ``known`` are lines of earlier runs.

    A model counts as known where fingerprint and text are the same. Raises UsageError for fewer than two models.
    """
    if len(folders) < 2:
        raise UsageError("a sweep needs two checkpoints or more: name them all, such as FOLDER/step-*")
    text = read_input(name, data)
    before = {(line.fingerprint, line.text): line for line in known}
    found = []
    for place, folder in enumerate(folders):
        predictor = load(folder)
        fingerprint = predictor.fingerprint.hex()
        earlier = before.get((fingerprint, text.sha256))
        bits = earlier.bits if earlier else float(token_rows(predictor, data, name).bits.sum())
        numbers = re.findall(r"\d+", Path(folder).name)
        line = Checkpoint(Path(folder).name, int(numbers[-1]) if numbers else place, fingerprint, text.sha256, bits)
        if earlier is None:
            keep(line)
        found.append(line)
    found.sort(key=lambda line: (line.step, line.name))
    rates = [line.bits / len(data) for line in found]
    best = min(range(len(found)), key=lambda place: (rates[place], place))
    rows = tuple(
        (line.name, line.step, line.bits, rate, rate - rates[0]) for line, rate in zip(found, rates, strict=True)
    )
    curve = Series("bits per byte", tuple(float(line.step) for line in found), tuple(rates))
    dots = Series("checkpoints", curve.x, curve.y, style="points")
    return Finding(
        "sweep",
        tuple(Probed(line.name, line.fingerprint) for line in found),
        (text,),
        (
            figure("best", rates[best], "bits per byte", note=found[best].name, headline=True),
            figure("last less first", rates[-1] - rates[0], "bits per byte"),
        ),
        NOT_SHOWN,
        (Table("Checkpoints", ("model", "step", "bits", "bits per byte", "change"), rows),),
        (Plot("Bits per byte by step", "step", "bits per byte", (curve, dots)),),
    )
