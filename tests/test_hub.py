"""Float models through transformers: every kind of model and tokenizer comes back, and another machine is refused."""

import contextlib
import io
import json
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from conftest import SAMPLE
from hub_material import CONFIGURATIONS, FAMILIES, HOSTILE, HOSTILE_MIX, write_hub_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmzip import archive, codec, frames
from llmzip.codec import compress, decompress
from llmzip.errors import LlmzipError, ModelError, PredictorMismatchError, RoundTripError, UsageError
from llmzip.model_folder import open_model_folder
from llmzip.predictor import FREQUENCY_TOTAL, ExactContext, FloatPredictor, Predictor
from llmzip.predictors import hub, load_predictor
from llmzip.predictors.hub import HubPredictor, load_hub
from llmzip.predictors.hub_folder import find_folder

Folders = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    made: dict[object, Path] = {}

    def folder(kind: str, family: str = "byte_level", **options: object) -> Path:
        key = (kind, family, *options.items())
        if key not in made:
            made[key] = write_hub_folder(tmp_path_factory.mktemp("hub") / kind, kind, family, **options)  # type: ignore[arg-type]
        return made[key]

    return folder


@pytest.fixture(scope="module")
def gpt2(folders: Folders) -> HubPredictor:
    return load_hub(folders("gpt2"), "gpt2", threads=1)


def coded(predictor: Predictor, data: bytes, streams: int) -> archive.Frame:
    tokens = predictor.tokenize(data)
    streams = min(streams, len(tokens))
    payload = frames.encode_intervals(frames.token_intervals(tokens, predictor, streams), frames.Limit(1 << 30))
    assert payload is not None
    return archive.new_frame(archive.MODEL, data, payload, len(tokens), streams)


def model_frame(predictor: HubPredictor, data: bytes, streams: int) -> tuple[bytes, archive.Frame]:
    """The header of an archive and a frame that the model coded, whatever other coding would be smaller."""
    fitted = predictor.fitted(len(data), streams)
    return archive.pack_header(fitted.name, fitted.fingerprint, fitted.settings()), coded(fitted, data, streams)


def decode(header: bytes, frame: archive.Frame, predictor: HubPredictor) -> bytes:
    info = archive.read_header(archive.ByteReader(io.BytesIO(header)))
    return frames.decode_frame(frame, frames.opener(info, lambda name: predictor))


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize("streams", [1, 3, 16])
def test_every_kind_of_model_gives_text_back(folders: Folders, kind: str, streams: int) -> None:
    """Streams are longer than the window, which slides; the decoder is loaded anew."""
    folder = folders(kind)
    data = SAMPLE.encode()[: 60 * min(streams, 4)]
    header, frame = model_frame(load_hub(folder, "x", threads=1), data, streams)
    assert decode(header, frame, load_hub(folder, "x", threads=1)) == data


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("streams", [1, 3, 16])
def test_every_model_with_every_tokenizer_and_something_of_everything_hostile(
    folders: Folders, kind: str, family: str, streams: int
) -> None:
    predictor = load_hub(folders(kind, family), "x", threads=1)
    header, frame = model_frame(predictor, HOSTILE_MIX, streams)
    assert frame.info.streams == streams and decode(header, frame, predictor) == HOSTILE_MIX


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tokenizer_with_all_that_is_hostile(folders: Folders, family: str) -> None:
    predictor = load_hub(folders("llama", family), "x", threads=1)
    for data in filter(None, HOSTILE):
        header, frame = model_frame(predictor, data, 16)
        assert decode(header, frame, predictor) == data


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(list(CONFIGURATIONS)),
    family=st.sampled_from(list(FAMILIES)),
    streams=st.sampled_from([1, 3, 16]),
    data=st.one_of(st.binary(min_size=1, max_size=60), st.text(min_size=1, max_size=30).map(str.encode)),
)
def test_anything_comes_back(folders: Folders, kind: str, family: str, streams: int, data: bytes) -> None:
    predictor = load_hub(folders(kind, family), "x", threads=1)
    header, frame = model_frame(predictor, data, streams)
    assert decode(header, frame, predictor) == data


@pytest.mark.parametrize("family", ["byte_level", "unigram"])
def test_whole_archives_with_memory(folders: Folders, family: str) -> None:
    """The default way: with memory, also of spelt bytes; verified; the decoder's predictor fresh."""
    data = (SAMPLE * 8).encode()
    packed = compress(data, load_hub(folders("gpt2", family), "gpt2", threads=1), streams=8)
    (member,) = archive.read_info(io.BytesIO(packed))
    assert member.predictor_name == "float/gpt2" and member.format_version == archive.FORMAT_VERSION and member.settings
    assert {frame.kind for frame in member.frames} <= {"model+memory", "memory"}
    other = load_hub(folders("gpt2", family), "gpt2", threads=1)
    assert decompress(packed, other) == data
    assert decompress(compress(b"", other), other) == b""


def test_a_large_vocabulary_takes_two_symbols_a_token(folders: Folders) -> None:
    predictor = load_hub(folders("gpt2", extra_width=0, vocab_size=17_000), "x", threads=1)
    predictor.tokenizer.model_size, extra = 16_900, 16_900 - predictor.tokenizer.size
    predictor.tokenizer.token_bytes += (b"",) * extra
    predictor.vocabulary_size, predictor.token_bytes = predictor.tokenizer.size, predictor.tokenizer.token_bytes
    data = b"in groups and back"
    fitted = predictor.fitted(len(data), 2)
    frame = frames.token_frame(data, 1 << 20, predictor=fitted, streams=2, memory=False)
    assert frame is not None and frame.info.kind == "model in groups"
    assert frames.decode_frame(frame, lambda: fitted) == data


def test_what_each_kind_carries_from_step_to_step(folders: Folders) -> None:
    models = {kind: load_hub(folders(kind), "x", threads=1).model for kind in CONFIGURATIONS}
    assert {kind for kind, model in models.items() if not model.carried} == {"openai-gpt"}
    assert {kind for kind, model in models.items() if not model.window} == {"mamba", "rwkv"}  # what does not grow


@pytest.mark.parametrize("kind", ["gpt2", "opt", "mamba", "openai-gpt"])
def test_probabilities_are_those_of_a_plain_forward_pass(folders: Folders, kind: str) -> None:
    import torch
    import transformers

    folder = folders(kind)
    predictor = load_hub(folder, "x", threads=1).fitted(100, 2)
    tokens = np.random.default_rng(1).integers(0, predictor.vocabulary_size, (2, 20))
    context = predictor.start(2)
    ours = []
    for column in tokens.T:
        table = context.next_frequencies()
        assert table.min() >= 1 and (table.sum(1) == FREQUENCY_TOTAL).all()
        ours.append(table[np.arange(2), column])
        context.append(column)
    assert not isinstance(context, ExactContext)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        fed = torch.from_numpy(np.concatenate((np.zeros((2, 1), np.int64), tokens), 1))
        logits = plain(fed).logits[:, :-1, : predictor.vocabulary_size].double()
    expected = logits.softmax(-1).gather(2, torch.from_numpy(tokens)[:, :, None])[:, :, 0].numpy()
    assert np.allclose(np.stack(ours, 1) / FREQUENCY_TOTAL, expected, rtol=2e-3, atol=4e-7)


def test_what_torch_had_of_threads_comes_back(folders: Folders) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        predictor = load_hub(folders("llama"), "x", threads=2).fitted(100, 1)
        predictor.start(1).append(np.zeros(1, np.int64))
        list(predictor.logits(np.zeros((1, 4), np.int64)))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_models_without_a_start_token_and_with_a_narrow_output(folders: Folders) -> None:
    folder = folders("llama", "byte_level", bos_token_id=None, eos_token_id=None, extra_width=-30)
    predictor = load_hub(folder, "x", threads=1)
    assert predictor.vocabulary_size < 320
    header, frame = model_frame(predictor, SAMPLE.encode()[:80], 2)
    assert decode(header, frame, predictor) == SAMPLE.encode()[:80]


def with_settings(header: bytes, settings: bytes) -> bytes:
    info = archive.read_header(archive.ByteReader(io.BytesIO(header)))
    return archive.pack_header(info.predictor_name, info.fingerprint, settings)


def field_changed(settings: bytes, place: int, value: bytes) -> bytes:
    fields = settings.split(b";")
    fields[place] = value
    return b";".join(fields)


def test_what_differs_decodes_right_or_is_refused_by_name(folders: Folders, gpt2: HubPredictor) -> None:
    data = SAMPLE.encode()[:90]
    header, frame = model_frame(gpt2, data, 3)
    folder = folders("gpt2")
    assert decode(header, frame, load_hub(folder, "gpt2", threads=2)) == data
    assert decode(header, frame, load_hub(folder, "gpt2", dtype="float64", threads=1)) == data  # the archive's is used
    for other in (load_hub(folders("gpt2", seed=2), "gpt2"), load_hub(folders("gpt2", "byte_level_nfc"), "gpt2")):
        with pytest.raises(PredictorMismatchError, match="has other weights, another tokenizer or other arithmetic"):
            decode(header, frame, other)
    with pytest.raises(PredictorMismatchError, match="--device says meta"):
        decode(header, frame, load_hub(folder, "gpt2", device="meta"))
    settings = archive.read_header(archive.ByteReader(io.BytesIO(header))).settings
    torch, transformers, processor = 7, 8, 9
    for place in (torch, transformers, processor):  # such a string alone is no reason to refuse: what is computed is
        assert decode(with_settings(header, field_changed(settings, place, b"other")), frame, gpt2) == data
    digest = 6
    changed = field_changed(settings, digest, b"0" * 16)
    with pytest.raises(PredictorMismatchError, match="computes float/gpt2 otherwise .* library below torch"):
        decode(with_settings(header, changed), frame, gpt2)
    for place, name in ((torch, "torch"), (transformers, "transformers"), (processor, "processor")):
        with pytest.raises(PredictorMismatchError, match=f"{name} 'other' there, '.+' here"):
            decode(with_settings(header, field_changed(changed, place, b"other")), frame, gpt2)
    for device in (b"cuda:77", b"meta", b"nowhere", b""):
        with pytest.raises(
            PredictorMismatchError, match=f"made on '{device.decode()}', which torch does not have here"
        ):
            decode(with_settings(header, field_changed(settings, 2, device)), frame, gpt2)


def test_a_machine_that_computes_otherwise_is_refused(gpt2: HubPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both before decoding, and by the frame's check where only the digest agrees."""
    data = SAMPLE.encode()[:90]
    header, frame = model_frame(gpt2, data, 3)
    step = hub.HubModel.step

    def noisy(self: hub.HubModel, *arguments: object) -> object:
        logits, carried = step(self, *arguments)  # type: ignore[arg-type]
        return logits + np.float32(1e-4) * np.random.default_rng(1).standard_normal(logits.shape, np.float32), carried

    monkeypatch.setattr(hub.HubModel, "step", noisy)
    with pytest.raises(PredictorMismatchError, match="otherwise than the one"):
        decode(header, frame, gpt2)
    digest = archive.read_header(archive.ByteReader(io.BytesIO(header))).settings.split(b";")[6].decode()
    monkeypatch.setattr(HubPredictor, "numerics", digest)
    with pytest.raises(PredictorMismatchError, match="does not decode with 'float/gpt2' here"):
        decode(header, frame, gpt2)


VALUES = [
    [b"0", b"2"],
    [b"float32", b"bfloat16", b"float16", b"float64", b"int8"],
    [b"cpu", b"auto", b"cuda", b"meta", b"disk"],
    [b"1", b"2", b"3", b"16", b"256", b"257"],
    [b"0", b"1", b"2", b"12", b"23", b"24", b"25", b"1024"],
    [b"0", b"1", b"2", b"3", b"256"],
    [b"", b"0" * 16],
    [b"", b"2.9.0", b"3.0.0+cu130"],
    [b"", b"4.57.1", b"6.0.0"],
    [b"", b"arm64 DEFAULT", b"x86_64 AVX2"],
]
"""Of each field of the settings: what another machine might say there, and what none would."""


def test_500_changed_settings_decode_right_or_are_refused(gpt2: HubPredictor) -> None:
    data = b"the quick"
    header, frame = model_frame(gpt2, data, 2)
    original = archive.read_header(archive.ByteReader(io.BytesIO(header))).settings
    chance = random.Random(4)
    outcomes = Counter[str]()
    for _ in range(500):
        changed = bytearray(original)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(changed))
            change = chance.choice(("field", "field", "flip", "digit", "drop", "repeat"))
            if change == "field" and changed.count(b";") == len(VALUES) - 1:
                field = chance.randrange(len(VALUES))
                changed = bytearray(field_changed(bytes(changed), field, chance.choice(VALUES[field])))
            elif change == "drop":
                del changed[place]
            elif change == "repeat":
                changed[place:place] = changed[place : place + 3]
            else:
                changed[place] = chance.randrange(256) if change == "flip" else chance.choice(b"0123456789")
        try:
            assert decode(with_settings(header, bytes(changed)), frame, gpt2) == data
            outcomes["right"] += 1
        except LlmzipError as error:
            assert error.exit_code == 4 and len(str(error)) > 40, error
            outcomes[re.sub(r"\(.*\)|(?<= )'.*'|(?<= )[0-9]+", "_", str(error))] += 1
    print(*(f"{count:5} {outcome}" for outcome, count in outcomes.most_common()), sep="\n")
    assert outcomes["right"] > 50  # some changes concern names of versions only
    assert sum(outcomes.values()) == 500 and len(outcomes) > 4  # pytest -s shows them


def test_what_does_not_compute_the_same_twice_is_not_written(
    gpt2: HubPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(7)
    step = hub.HubModel.step

    def unsteady(self: hub.HubModel, *arguments: object) -> object:
        logits, carried = step(self, *arguments)  # type: ignore[arg-type]
        return logits + noise.standard_normal(logits.shape, np.float32), carried

    monkeypatch.setattr(hub.HubModel, "step", unsteady)
    monkeypatch.setattr(codec, "frames_of_block", lambda block, *_: [coded(gpt2.fitted(len(block), 1), block, 1)])
    with pytest.raises(RoundTripError, match="does not compute the same twice"):
        compress(b"the quick brown fox", gpt2)
    assert len(compress(b"the quick brown fox", gpt2, verify=False)) > 20


def test_the_folder_decides_between_exact_and_float(folders: Folders, tmp_path: Path) -> None:
    assert isinstance(load_predictor(str(folders("gpt2"))), FloatPredictor)
    assert not isinstance(load_predictor(str(folders("llama", "unigram"))), FloatPredictor)
    plain = folders("llama", extra_width=0)
    assert not isinstance(load_predictor(str(plain)), FloatPredictor)
    assert isinstance(load_predictor(str(plain), arithmetic="float"), FloatPredictor)
    assert isinstance(load_predictor("nano", arithmetic="float"), FloatPredictor)
    with pytest.raises(ModelError, match="cannot run in the exact engine"):
        load_predictor(str(folders("gpt2")), arithmetic="exact")


def test_other_dtypes(folders: Folders) -> None:
    for dtype in ("bfloat16", "float64"):
        predictor = load_hub(folders("llama"), "x", dtype=dtype, threads=1)
        header, frame = model_frame(predictor, SAMPLE.encode()[:60], 2)
        assert decode(header, frame, load_hub(folders("llama"), "x", threads=1)) == SAMPLE.encode()[:60]
    with pytest.raises(UsageError, match="unknown: use one of float32"):
        load_hub(folders("llama"), "x", dtype="int4")


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_model_in_two_parts(folders: Folders, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate leaves on disk what does not fit into what is said to be all memory, and fetches it at each step."""
    import transformers

    folder = folders(kind)
    files = sorted(folder.iterdir())
    load, enough = transformers.AutoModelForCausalLM.from_pretrained, open_model_folder(folder).weight_bytes

    def load_in_parts(*arguments: object, **options: object) -> object:
        assert options["device_map"] == "auto"
        return load(*arguments, max_memory={"cpu": enough * 9 // 10}, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load_in_parts)
    data = SAMPLE.encode()[:150]
    split = load_hub(folder, "x", device="auto", threads=1)
    model = split.model._model
    assert set(model.hf_device_map.values()) == {"cpu", "disk"}
    assert 0 < sum(parameter.is_meta for parameter in model.parameters()) < len(list(model.parameters()))
    header, frame = model_frame(split, data, 3)
    assert b" on cpu, " in header and b" on disk" in header
    assert decode(header, frame, load_hub(folder, "x", device="auto", threads=1)) == data
    assert decode(header, frame, load_hub(folder, "x", threads=1)) == data  # the archive says "auto"
    monkeypatch.undo()
    with contextlib.suppress(PredictorMismatchError):  # whole, Mamba computes otherwise
        assert decode(header, frame, load_hub(folder, "x", threads=1)) == data
    assert sorted(folder.iterdir()) == files


def test_a_model_none_of_which_fits(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    load = transformers.AutoModelForCausalLM.from_pretrained
    least = lambda *arguments, **options: load(*arguments, max_memory={"cpu": 1}, **options)  # noqa: E731
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", least)
    for dtype in ("float32", "bfloat16"):
        split = load_hub(folders("llama"), "x", device="auto", dtype=dtype, threads=1)
        header, frame = model_frame(split, SAMPLE.encode()[:60], 2)
        assert b" on disk" in header and decode(header, frame, split) == SAMPLE.encode()[:60]


def test_models_in_parts_need_accelerate(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ModelError, match="pip install accelerate"):
        load_hub(folders("gpt2"), "x", device="auto").fitted(100, 1)
    assert load_hub(folders("gpt2"), "x", device="cpu").fitted(100, 1).model


def test_a_tokenizer_without_tokenizer_json_is_converted(folders: Folders, tmp_path: Path) -> None:
    source = folders("gpt2")
    for path in source.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, model["merges"])) + "\n")
    converted, plain = load_hub(tmp_path, "x"), load_hub(source, "x")
    assert converted.tokenize(SAMPLE.encode()).tolist() == plain.tokenize(SAMPLE.encode()).tolist()
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_hub(tmp_path, "x")


HARM = "import pathlib\npathlib.Path({!r}).write_text('harm')\n"


@pytest.fixture
def hostile(folders: Folders, tmp_path: Path) -> Path:
    """A copy of a good folder, to be spoilt."""
    copy = tmp_path / "hostile"
    copy.mkdir()
    for path in folders("gpt2").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_hub(folder, "x").fitted(100, 1)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 4
    return str(caught.value)


def test_pickled_weights_are_refused(hostile: Path) -> None:
    (hostile / "model.safetensors").rename(hostile / "pytorch_model.bin")
    assert "never loaded" in refusal(hostile)


def test_code_of_a_folder_is_never_run(hostile: Path) -> None:
    mark = hostile / "mark"
    (hostile / "evil.py").write_text(HARM.format(str(mark)))
    mapping = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.T", None]}
    change_config(hostile, auto_map=mapping)
    load_hub(hostile, "x").fitted(100, 1)  # known without its code
    change_config(hostile, model_type="evil")
    assert "cannot be loaded" in refusal(hostile)
    (hostile / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(hostile)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 1 << 40}, "vocab_size"),
        ({"vocab_size": 1 << 20}, "config.json needs"),
        ({"vocab_size": None}, "no vocab_size"),
        ({"n_layer": 10**9}, "n_layer"),
        ({"n_layer": 9}, "config.json needs"),
        ({"n_embd": 1 << 30}, "cannot be loaded"),
        ({"model_type": 5}, "model_type"),
        ({"n_head": 0}, "cannot be loaded"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(hostile: Path, changes: dict[str, object], words: str) -> None:
    change_config(hostile, **changes)
    assert words in refusal(hostile)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_and_cut_files_are_refused(hostile: Path, name: str) -> None:
    whole = (hostile / name).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:9], b""):
        (hostile / name).write_bytes(content)
        refusal(hostile)
    (hostile / name).unlink()
    refusal(hostile)


def test_an_index_may_not_lead_out_of_the_folder(hostile: Path) -> None:
    (hostile / "model.safetensors").unlink()
    index = hostile / "model.safetensors.index.json"
    for name, words in (("../other.safetensors", "outside"), ("missing.safetensors", "lacks")):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(ModelError, match=words):
            open_model_folder(hostile)


def test_names_of_the_hub(folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found among what was fetched before, by the commit that a revision means; nothing else is asked for."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in folders("gpt2").iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert find_folder("some/model@v1", offline=True) == snapshot
    assert find_folder(f"some/model@{commit}", offline=True) == snapshot
    assert load_predictor("some/model@v1", offline=True).name == "float/model"
    for name in ("some/other", "some/model@v2"):
        with pytest.raises(ModelError, match="there is no folder"):
            find_folder(name, offline=True)
    with pytest.raises(ModelError, match="neither a folder nor a name of the hub"):
        find_folder("../x/y", offline=True)


@pytest.mark.parametrize("is_decoder", [False, True])
def test_a_model_that_sees_ahead_is_refused(tmp_path: Path, is_decoder: bool) -> None:
    """transformers takes an encoder for a causal model and only warns."""
    folder = write_hub_folder(tmp_path / "bert", "bert", is_decoder=is_decoder)
    predictor = load_hub(folder, "x", threads=1)
    if is_decoder:
        header, frame = model_frame(predictor, SAMPLE.encode()[:60], 2)
        assert decode(header, frame, load_hub(folder, "x", threads=1)) == SAMPLE.encode()[:60]
    else:
        with pytest.raises(ModelError, match=r"bert is no causal model \(BertLMHeadModel\): .* predict the next token"):
            predictor.fitted(100, 1)


def test_sentencepiece_alone_names_the_remedy(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "sp")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer: add the tokenizer.json"):
        load_hub(folder, "x")
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    with pytest.raises(
        ModelError, match=r"in SentencePiece's form alone \(tokenizer.model\).*pip install sentencepiece"
    ):
        load_hub(folder, "x")


def test_why_the_hub_does_not_give_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cause has its remedy, in one line."""
    import huggingface_hub
    from huggingface_hub import errors

    def made(kind: type[Exception]) -> Exception:
        error = kind.__new__(kind)
        Exception.__init__(error, "says\nmuch")
        return error

    causes: dict[type[Exception], str] = {
        errors.GatedRepoError: "behind terms: accept them on its page, and log in",
        errors.RevisionNotFoundError: "not this revision: check what follows the @",
        errors.RepositoryNotFoundError: "no such model, or it is private: check -m, or log in",
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE forbids",
        errors.LocalEntryNotFoundError: "cannot be reached: check the network, or fetch the model elsewhere",
        ConnectionError: "cannot be reached: check the network",
    }
    for kind, words in causes.items():

        def fail(*_: object, kind: type[Exception] = kind, **__: object) -> None:
            raise made(kind)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        with pytest.raises(ModelError, match=words) as caught:
            find_folder("some/model@v1")
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="leave --offline out once"):
        find_folder("some/model", offline=True)
