"""A fair rival for a model: zstd and xz that hold as many bytes of its training text as it has bytes of parameters.

``python benchmarks/fair_rival.py SHARDS FILE…`` draws, for each embedded rung, a sample of the training text as long as
the rung's stored weights, gives it to zstd -19 (a prefix, as ``zstd --patch-from`` does) and to xz -9e (a preset
dictionary of liblzma, which only its raw format has), and measures both with and without it on the files. Every archive
is decoded and compared. Writes ``results/fair-rival.json``. Corpora and held-out texts are measured, never sampled.

The sample: pieces of 512 bytes from random places of what the rungs are trained on, by a fixed seed. On validation text
they did no worse than longer pieces. Documents lie shuffled over the shards, so three of the fifteen and a fifth of the
source code have each kind's share.
"""

import ctypes
import ctypes.util
import hashlib
import itertools
import lzma
import random
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from llmzip.bench.codecs import Classical, Codec, classical_codec, primed_zstd
from llmzip.bench.measuring import measure_row
from llmzip.bench.results import MeasuredCodec, MeasuredFile, Results
from llmzip.predictors import embedded_rungs

RESULTS = Path(__file__).resolve().parent / "results" / "fair-rival.json"
SEED = 20261124
PIECE_BYTES = 512
SHARDS, ALL_SHARDS = 3, 15


def training_text(folder: Path) -> list[bytes]:
    """Documents that are trained on, varied as there: those of the first shards, and code in the same proportion."""
    from llmzip.training.text import read_shard, read_standard_library, shard_paths, vary_layout

    random_layout = random.Random(SEED)
    documents = [document for path in shard_paths(folder)[0][:SHARDS] for document in read_shard(path)]
    documents += list(read_standard_library())[:: ALL_SHARDS // SHARDS]
    return [vary_layout(document, random_layout).text.encode() for document in documents]


def sample(documents: Sequence[bytes], size: int, seed: int = SEED) -> bytes:
    """``size`` bytes of pieces from random places of ``documents``, each byte as likely as any other."""
    random_places = random.Random(seed)
    ends = list(itertools.accumulate(map(len, documents)))
    pieces, done = [], 0
    while done < size:
        document = random_places.choices(documents, cum_weights=ends)[0]
        start = random_places.randrange(max(1, len(document) - PIECE_BYTES + 1))
        pieces.append(document[start : start + PIECE_BYTES][: size - done])
        done += len(pieces[-1])
    return b"".join(pieces)


class _Options(ctypes.Structure):
    """The beginning of liblzma's ``lzma_options_lzma``; ``rest`` is larger than what follows there."""

    _fields_ = [
        ("dict_size", ctypes.c_uint32),
        ("preset_dict", ctypes.c_char_p),
        ("preset_dict_size", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 256),
    ]


class _Filter(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint64), ("options", ctypes.c_void_p)]


_LZMA2, _END = 0x21, (1 << 64) - 1
_LENGTH_BYTES = 8


@cache
def _liblzma() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("lzma")
    return ctypes.CDLL(name) if name else None


def primed_xz(name: str, prefix: bytes) -> Classical | None:
    """xz's LZMA2 with ``prefix`` as preset dictionary, after the length of the text. None without a liblzma."""
    preset = 9 | lzma.PRESET_EXTREME
    library = _liblzma()
    if library is None:
        return None
    options = _Options()
    if library.lzma_lzma_preset(ctypes.byref(options), ctypes.c_uint32(preset)):
        raise RuntimeError("liblzma does not know the preset")
    options.dict_size = max(options.dict_size, 2 * len(prefix))
    options.preset_dict, options.preset_dict_size = prefix, len(prefix)
    filters = (_Filter * 2)(_Filter(_LZMA2, ctypes.cast(ctypes.pointer(options), ctypes.c_void_p)), _Filter(_END, None))

    def compress(data: bytes, keep: object = options) -> bytes:  # keep: alive as long as the filters point to it
        out, used = ctypes.create_string_buffer(len(data) + len(data) // 100 + 1024), ctypes.c_size_t(0)
        size = ctypes.c_size_t(len(data))
        code = library.lzma_raw_buffer_encode(
            filters, None, data, size, out, ctypes.byref(used), ctypes.c_size_t(len(out))
        )
        if code:
            raise RuntimeError(f"liblzma failed with {code}")
        return len(data).to_bytes(_LENGTH_BYTES, "little") + out.raw[: used.value]

    def decompress(archive: bytes) -> bytes:
        size, data = int.from_bytes(archive[:_LENGTH_BYTES], "little"), archive[_LENGTH_BYTES:]
        out, used, read = ctypes.create_string_buffer(size), ctypes.c_size_t(0), ctypes.c_size_t(0)
        code = library.lzma_raw_buffer_decode(
            filters, None, data, ctypes.byref(read), ctypes.c_size_t(len(data)), out, ctypes.byref(used),
            ctypes.c_size_t(size),
        )  # fmt: skip
        if code or used.value != size:
            raise RuntimeError(f"liblzma failed with {code}")
        return out.raw

    settings: dict[str, str | int] = {"level": 9, "extreme": 1, "prefix_sha256": hashlib.sha256(prefix).hexdigest()}
    description = MeasuredCodec(name, "classical", settings, receiver_bytes={"prefix": len(prefix)})
    return Classical(description, compress, decompress)


def rivals(documents: Sequence[bytes]) -> list[Codec]:
    """The plain codecs, and one of each primed for every embedded rung."""
    found: list[Codec] = [classical_codec("zstd -19"), classical_codec("xz -9e")]
    for rung in embedded_rungs():
        prefix = sample(documents, (rung.folder / "model.safetensors").stat().st_size)
        found.append(primed_zstd(f"zstd -19, primed as {rung.name}", 19, prefix))
        if primed := primed_xz(f"xz -9e, primed as {rung.name}", prefix):
            found.append(primed)
    return found


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    shards, *names = sys.argv[1:]
    codecs = rivals(training_text(Path(shards)))
    files, rows = [], []
    for path in map(Path, names):
        data = path.read_bytes()
        name = f"{path.parent.name}/{path.name}"
        files.append(MeasuredFile(name, path.stem, len(data), hashlib.sha256(data).hexdigest()))
        for codec in codecs:
            rows.append(measure_row(codec, data, name))
            print(f"{name}  {codec.description.name}  {rows[-1].bits_per_byte:.3f}", file=sys.stderr, flush=True)
        made = {"script": "benchmarks/fair_rival.py", "shards": SHARDS, "seed": SEED, "piece_bytes": PIECE_BYTES}
        results = Results(tuple(files), tuple(codec.description for codec in codecs), tuple(rows), made)
        RESULTS.write_text(results.to_json(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
