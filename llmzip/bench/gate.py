"""Compares a bench with a baseline: may the two be compared, did a size grow beyond the tolerance, and where.

A size is compared only where everything that could explain it but a change of the code, or, when asked for, of the
model, is the same. All arithmetic is exact. Measures and prints nothing. May import ``bench.baseline``,
``bench.results`` and ``errors``; ``bench`` and ``cli`` import it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from llmzip.bench.baseline import Baseline, BaselineCodec, BaselineRow
from llmzip.bench.results import MICROBITS, WATERFALL_TERMS, WaterfallTerm
from llmzip.errors import NotComparableError, UsageError

Verdict = Literal["equal", "within tolerance", "improved", "regressed"]

_SHOWN_DIFFERENCES = 4
_SHOWN_FILES = 5


@dataclass(frozen=True)
class Tolerance:
    """By how much a size may grow: in bytes, in bits per byte, or by a share of itself."""

    unit: Literal["bytes", "bpb"]
    amount: Fraction
    is_share: bool

    def allows(self, before_bytes: int, after_bytes: int, original_bytes: int) -> bool:
        """Whether ``after_bytes`` is no regression. At the tolerance exactly it is none."""
        growth = Fraction(after_bytes - before_bytes)
        if self.is_share:
            return growth <= self.amount * before_bytes
        if self.unit == "bpb":
            growth = 8 * growth / original_bytes
        return growth <= self.amount

    def __str__(self) -> str:
        amount = 100 * self.amount if self.is_share else self.amount
        return f"{self.unit}:{float(amount):g}{'%' if self.is_share else ''}"


EXACT = Tolerance("bytes", Fraction(0), False)
"""The default where sizes are the same on every machine."""
FLOAT = Tolerance("bpb", Fraction(1, 1000), True)
"""The default for float models, whose sizes differ a little by machine."""


def parse_tolerance(text: str) -> Tolerance:
    """From "bytes:0", "bytes:0.1%", "bpb:0.002" or "bpb:0.1%". Raises UsageError."""
    found = re.fullmatch(r"(bytes|bpb):(\d+(?:\.\d+)?)(%?)", text.strip(), re.ASCII)
    if not found:
        raise UsageError(f"{text!r} is not a tolerance: write bytes:0, bpb:0.1% or bpb:0.002")
    amount = Fraction(found[2]) / (100 if found[3] else 1)
    return Tolerance("bpb" if found[1] == "bpb" else "bytes", amount, bool(found[3]))


@dataclass(frozen=True)
class FileComparison:
    """One file under one codec, then and now."""

    file: str
    kind: str
    original_bytes: int
    before: BaselineRow
    after: BaselineRow

    @property
    def growth_bytes(self) -> int:
        """Of the archive; negative where it shrank."""
        return self.after.archive_bytes - self.before.archive_bytes


@dataclass(frozen=True)
class CodecComparison:
    """One codec, then and now. ``baseline_name`` differs from ``name`` only between models."""

    name: str
    baseline_name: str
    tolerance: Tolerance
    files: tuple[FileComparison, ...]
    on_total: bool
    """Whether the total is judged (between models) or every file (between versions of the code)."""

    @property
    def original_bytes(self) -> int:
        """Of all files."""
        return sum(file.original_bytes for file in self.files)

    @property
    def before_bytes(self) -> int:
        """Of all archives in the baseline."""
        return sum(file.before.archive_bytes for file in self.files)

    @property
    def after_bytes(self) -> int:
        """Of all archives now."""
        return sum(file.after.archive_bytes for file in self.files)

    @property
    def growth_bytes(self) -> int:
        """Of all archives together; negative where they shrank."""
        return self.after_bytes - self.before_bytes

    @property
    def regressed_files(self) -> tuple[FileComparison, ...]:
        """Files whose archives grew beyond the tolerance, worst first."""
        grown = [file for file in self.files if not self._allows(file.before, file.after, file.original_bytes)]
        return tuple(sorted(grown, key=lambda file: (-file.growth_bytes, file.file)))

    @property
    def verdict(self) -> Verdict:
        """ "equal" means every number, also the ideal bits and the waterfall."""
        if not any(_is_changed(file.before, file.after) for file in self.files):
            return "equal"
        total = BaselineRow(self.before_bytes), BaselineRow(self.after_bytes), self.original_bytes
        judged = [total] if self.on_total else [(file.before, file.after, file.original_bytes) for file in self.files]
        if not all(self._allows(before, after, size) for before, after, size in judged):
            return "regressed"
        if not all(self._allows(after, before, size) for before, after, size in judged):
            return "improved"
        return "within tolerance"

    def _allows(self, before: BaselineRow, after: BaselineRow, original_bytes: int) -> bool:
        return self.tolerance.allows(before.archive_bytes, after.archive_bytes, original_bytes)

    def growth_by_kind(self) -> dict[str, int]:
        """Bytes by kind of file, where they changed, most growth first."""
        growth: dict[str, int] = {}
        for file in self.files:
            growth[file.kind] = growth.get(file.kind, 0) + file.growth_bytes
        return {kind: size for kind, size in sorted(growth.items(), key=lambda item: -item[1]) if size}

    def waterfall_growth(self) -> dict[WaterfallTerm, int] | None:
        """Microbits by term, where they changed; None unless every row has a waterfall, then and now."""
        growth = dict.fromkeys(WATERFALL_TERMS, 0)
        for file in self.files:
            before, after = file.before.waterfall_microbits, file.after.waterfall_microbits
            if before is None or after is None:
                return None
            for term in growth:
                growth[term] += after.get(term, 0) - before.get(term, 0)
        return {term: bits for term, bits in growth.items() if bits}


@dataclass(frozen=True)
class Comparison:
    """A bench against a baseline."""

    codecs: tuple[CodecComparison, ...]
    unchecked: tuple[str, ...]
    """Codecs that were measured but are not in the baseline."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all codecs; "improved" where none is worse and one is better."""
        verdicts = {codec.verdict for codec in self.codecs}
        order: tuple[Verdict, ...] = ("regressed", "improved", "within tolerance", "equal")
        return next(verdict for verdict in order if verdict in verdicts)


def compare(
    baseline: Baseline, measured: Baseline, *, tolerance: Tolerance | None = None, across_models: bool = False
) -> Comparison:
    """Every codec of the baseline, then and now.

    tolerance: None for 0 bytes where a codec is exact and 0.1 % of the bits per byte where it is not. across_models:
    predictors may differ in fingerprint and name, and totals are judged instead of every file. Raises as
    ``check_comparable`` does.
    """
    pairs = check_comparable(baseline, measured, across_models=across_models)
    comparisons = []
    for baseline_name, name in pairs.items():
        before, after = baseline.codecs[baseline_name], measured.codecs[name]
        files = tuple(
            FileComparison(file, entry.kind, entry.original_bytes, before.rows[file], after.rows[file])
            for file, entry in sorted(measured.files.items())
        )
        usual = EXACT if before.exact and after.exact else FLOAT
        on_total = across_models and after.kind == "predictor"
        comparisons.append(CodecComparison(name, baseline_name, tolerance or usual, files, on_total))
    return Comparison(tuple(comparisons), tuple(name for name in measured.codecs if name not in pairs.values()))


def check_comparable(baseline: Baseline, measured: Baseline, *, across_models: bool = False) -> dict[str, str]:
    """Codec of the baseline -> the codec to compare with it. Looks at identities only, so it needs no rows yet.

    Raises NotComparableError, naming what differs.
    """
    pairs = _pairs(baseline, measured, across_models=across_models)
    differences = [*_file_differences(baseline, measured)]
    for then, now in pairs.items():
        differences += _codec_differences(then, baseline.codecs[then], now, measured, across_models=across_models)
    if differences:
        raise NotComparableError(_sentence(differences))
    return {then: now for then, now in pairs.items() if now is not None}


def _pairs(baseline: Baseline, measured: Baseline, *, across_models: bool) -> dict[str, str | None]:
    """Codec in the baseline -> codec now, None where there is none."""
    pairs: dict[str, str | None] = {name: name if name in measured.codecs else None for name in baseline.codecs}
    if across_models:
        lost = [name for name, now in pairs.items() if now is None and baseline.codecs[name].kind == "predictor"]
        new = [name for name, codec in measured.codecs.items() if codec.kind == "predictor" and name not in pairs]
        if len(lost) == len(new) == 1:
            pairs[lost[0]] = new[0]
        elif lost:
            raise NotComparableError(
                f"it is not clear which model follows {', '.join(lost)}: measure one model on either side"
            )
    return pairs


def _file_differences(baseline: Baseline, measured: Baseline) -> Iterable[str]:
    for name in sorted(baseline.files | measured.files):
        before, after = baseline.files.get(name), measured.files.get(name)
        if before is None:
            yield f"{name} was not measured before"
        elif after is None:
            yield f"{name} was measured before and is not now"
        elif before.sha256 != after.sha256 or before.original_bytes != after.original_bytes:
            yield f"{name} has other content (SHA-256 {after.sha256[:12]}, before {before.sha256[:12]})"


def _codec_differences(
    name: str, before: BaselineCodec, now: str | None, measured: Baseline, *, across_models: bool
) -> Iterable[str]:
    if now is None:
        new = [other for other, codec in measured.codecs.items() if codec.kind == before.kind == "predictor"]
        hint = f" (--across-models compares it with {new[0]})" if len(new) == 1 else ""
        yield f"{name} was measured before and is not now{hint}"
        return
    after = measured.codecs[now]
    between_models = across_models and before.kind == after.kind == "predictor"
    if before.kind != after.kind:
        yield f"{name} is of kind {after.kind}, before {before.kind}"
    if before.fingerprint != after.fingerprint and not between_models:
        yield (
            f"{name} is another model or tokenizer (fingerprint {after.fingerprint[:12]}, before "
            f"{before.fingerprint[:12]}; --across-models compares two models)"
        )
    if before.exact != after.exact and not between_models:
        yield f"{name} is {'exact' if after.exact else 'not exact'}, before {'not ' * after.exact}exact"
    for key in sorted(before.settings | after.settings):
        then, today = before.settings.get(key, "absent"), after.settings.get(key, "absent")
        if then != today and not (between_models and key == "tokenizer"):
            yield f"{name} has {key} {today}, before {then}"


def _sentence(differences: list[str]) -> str:
    shown = "; ".join(differences[:_SHOWN_DIFFERENCES])
    more = len(differences) - _SHOWN_DIFFERENCES
    rest = f"; and {more} more differences" if more > 0 else ""
    return f"not comparable: {shown}{rest}: measure the same things"


def _is_changed(before: BaselineRow, after: BaselineRow) -> bool:
    """Whether a number differs that both rows have."""
    pairs = (
        (before.archive_bytes, after.archive_bytes),
        (before.ideal_microbits, after.ideal_microbits),
        (before.waterfall_microbits, after.waterfall_microbits),
    )
    return any(then != now for then, now in pairs if then is not None and now is not None)


def explanation(comparison: Comparison) -> list[str]:
    """Lines for people: a verdict a codec, and for what changed which kinds, files and terms of the waterfall."""
    lines = []
    for codec in comparison.codecs:
        lines.append(f"{codec.name}: {headline(codec)}")
        if codec.verdict != "equal":
            lines += [f"  {line}" for line in _details(codec)]
    lines += [f"{name}: not measured before, not checked" for name in comparison.unchecked]
    return lines


def headline(codec: CodecComparison) -> str:
    """One line: sizes, rates and the verdict."""
    before, after, original = codec.before_bytes, codec.after_bytes, codec.original_bytes
    against = "" if codec.baseline_name == codec.name else f"against {codec.baseline_name}, "
    if codec.verdict == "equal":
        return f"{against}equal, {after:,} bytes, {8 * after / original:.4f} bits per byte"
    share = f", {(after - before) / before:+.3%}" if before else ""
    verdict = "REGRESSED" if codec.verdict == "regressed" else codec.verdict
    return (
        f"{against}{verdict} (tolerance {codec.tolerance}{' of the total' if codec.on_total else ' a file'}), "
        f"{before:,} -> {after:,} bytes ({after - before:+,}{share}), "
        f"{8 * before / original:.4f} -> {8 * after / original:.4f} bits per byte"
    )


def _details(codec: CodecComparison) -> Iterable[str]:
    if kinds := codec.growth_by_kind():
        yield "by kind: " + ", ".join(f"{kind} {size:+,}" for kind, size in kinds.items())
    changed = sorted((file for file in codec.files if file.growth_bytes), key=lambda file: -file.growth_bytes)
    for file in changed[:_SHOWN_FILES]:
        yield f"{file.file}: {file.before.archive_bytes:,} -> {file.after.archive_bytes:,} ({file.growth_bytes:+,})"
    if len(changed) > _SHOWN_FILES:
        rest = sum(file.growth_bytes for file in changed[_SHOWN_FILES:])
        yield f"and {len(changed) - _SHOWN_FILES} more files ({rest:+,})"
    ideals = [(file.before.ideal_microbits, file.after.ideal_microbits) for file in codec.files]
    known = [(before, after) for before, after in ideals if before is not None and after is not None]
    if known and (growth := sum(after - before for before, after in known)):
        yield f"ideal bits: {_bytes(growth)} bytes"
    waterfall = codec.waterfall_growth()
    if waterfall:
        yield "waterfall, in bytes: " + ", ".join(f"{term} {_bytes(bits)}" for term, bits in waterfall.items())


def _bytes(microbits: int) -> str:
    return f"{microbits / MICROBITS / 8:+,.1f}"
