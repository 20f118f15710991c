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
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import zstandard

from llmzip.bench.results import MeasuredCodec, MeasuredFile, Results, Row
from llmzip.predictors import embedded_rungs

RESULTS = Path(__file__).resolve().parent / "results" / "fair-rival.json"
SEED = 20261124
PIECE_BYTES = 512
SHARDS, ALL_SHARDS = 3, 15

Coder = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]


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


def zstd_primed(prefix: bytes, level: int = 19) -> Coder:
    """zstd with ``prefix`` in its window before the text begins: the bytes of ``zstd --patch-from``, but its check."""

    @cache
    def held(window_log: int) -> tuple[zstandard.ZstdCompressionDict, zstandard.ZstdCompressionParameters]:
        parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=1 << window_log)
        prepared = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        prepared.precompute_compress(compression_params=parameters)  # once for all files, with the same result
        return prepared, parameters

    def compress(data: bytes) -> bytes:
        # The window must reach from the end of the text to the beginning of the prefix.
        prepared, parameters = held((len(prefix) + len(data) - 1).bit_length())
        return zstandard.ZstdCompressor(dict_data=prepared, compression_params=parameters).compress(data)

    raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return compress, zstandard.ZstdDecompressor(dict_data=raw, max_window_size=1 << 31).decompress


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


def xz_primed(prefix: bytes, preset: int = 9 | lzma.PRESET_EXTREME) -> Coder | None:
    """xz's LZMA2 with ``prefix`` as preset dictionary, after the length of the text. None without a liblzma."""
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

    return compress, decompress


def rivals(documents: Sequence[bytes]) -> list[tuple[MeasuredCodec, Coder]]:
    """The plain codecs, and one of each primed for every embedded rung."""
    zstd_version = ".".join(map(str, zstandard.ZSTD_VERSION))
    plain_zstd = zstandard.ZstdCompressor(level=19).compress, zstandard.ZstdDecompressor().decompress
    plain_xz = lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), lzma.decompress  # noqa: E731
    found: list[tuple[MeasuredCodec, Coder]] = [
        (MeasuredCodec("zstd -19", "classical", {"version": zstd_version, "level": 19}), plain_zstd),
        (MeasuredCodec("xz -9e", "classical", {"level": 9, "extreme": 1}), plain_xz),
    ]
    for rung in embedded_rungs():
        size = (rung.folder / "model.safetensors").stat().st_size
        prefix = sample(documents, size)
        settings: dict[str, str | int] = {
            "seed": SEED,
            "piece_bytes": PIECE_BYTES,
            "prefix_sha256": hashlib.sha256(prefix).hexdigest(),
        }
        held = {"prefix": size}
        for name, coder in (("zstd -19", zstd_primed(prefix)), ("xz -9e", xz_primed(prefix))):
            if coder is not None:
                codec = MeasuredCodec(f"{name}, primed as {rung.name}", "classical", settings, receiver_bytes=held)
                found.append((codec, coder))
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
        for codec, (compress, decompress) in codecs:
            started = time.perf_counter()
            archive = compress(data)
            compressed = time.perf_counter()
            if decompress(archive) != data:
                raise SystemExit(f"{codec.name} does not give {path} back")
            seconds = round(compressed - started, 3), round(time.perf_counter() - compressed, 3)
            rows.append(Row(name, codec.name, len(data), len(archive), None, *seconds, None))
            print(f"{name}  {codec.name}  {rows[-1].bits_per_byte:.3f}", file=sys.stderr, flush=True)
        made = {"script": "benchmarks/fair_rival.py", "shards": SHARDS}
        results = Results(tuple(files), tuple(codec for codec, _ in codecs), tuple(rows), made)
        RESULTS.write_text(results.to_json(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
