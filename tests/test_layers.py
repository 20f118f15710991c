"""The shape of the package: who imports whom, who prints, what start-up costs, what is public, what is explained."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmzip

PACKAGE = Path(llmzip.__file__).parent
ROOT = "__init__"
BELOW_CODEC = {
    "errors",
    "documents",
    "model_folder",
    "checkpoints",
    "blocks",
    "predictor",
    "parallel",
    "coder",
    "archive",
    "native",
    "engine",
    "memory",
    "portable",
    "predictors",
    "frames",
    "recovery",
}
ABOVE_CODEC = BELOW_CODEC | {"codec", "scoring", "standalone", "targets", "sources", ROOT}
BELOW_PREDICTORS = {"errors", "documents", "model_folder", "predictor", "parallel", "coder", "native"}
MAY_IMPORT = {
    "errors": set[str](),
    "predictor": set[str](),
    "parallel": set[str](),
    "blocks": set[str](),
    "targets": {"errors"},
    "sources": {"errors"},
    "documents": {"errors", "sources"},
    "stored_tensors": {"errors", "documents"},
    "model_folder": {"errors", "documents", "stored_tensors"},
    "checkpoints": {"errors", "documents", "stored_tensors", "model_folder"},
    "levels": {"errors", "documents"},
    "coder": {"errors", "predictor"},
    "archive": {"errors", "blocks"},
    "native": {"errors", "predictor"},
    "engine": {"errors", "predictor", "documents", "stored_tensors", "model_folder", "native"},
    "memory": {"errors", "predictor", "coder", "native"},
    "portable": {"errors", "predictor", "coder", "memory"},
    "predictors": BELOW_PREDICTORS | {"checkpoints", "engine", "memory"},
    "standalone": {"errors", "sources", "predictor", "engine", "memory", "predictors"},
    "frames": {"errors", "blocks", "predictor", "parallel", "coder", "archive", "memory", "portable"},
    "recovery": {"errors", "predictor", "archive", "frames"},
    "codec": BELOW_CODEC,
    ROOT: BELOW_CODEC | {"codec"},
    "scoring": BELOW_CODEC,
    "bench": ABOVE_CODEC,
    "probes": ABOVE_CODEC | {"bench"},
    "training": BELOW_PREDICTORS
    | {"archive", "stored_tensors", "memory", "engine", "predictors", "frames", "scoring", "codec", "probes"},
    "cli": ABOVE_CODEC | {"bench", "probes", "levels"},
    "__main__": {"cli"},
}
"""Layer (module or package directly below ``llmzip``) -> other layers that it may import."""

OUTSIDE = {
    "constriction": ("coder.py",),
    "ctypes": ("native/", "engine/native.py", "memory/native.py"),
    "torch": ("engine/backends", "predictors/hub_model.py", "training/"),
    "transformers": ("predictors/hub_model.py", "training/"),
    "accelerate": ("predictors/hub_model.py",),
    "jinja2": ("bench/pages.py",),
    "vl_convert": ("bench/drawing.py",),
    "gguf": ("checkpoints/gguf_file.py",),
}
"""Library -> where in the package it may be imported; torch outside of training only when it is needed."""

MAY_PRINT = ("cli/", "training/__main__.py", "training/memory.py")

NOT_AT_START_UP = {"torch", "transformers", "accelerate", "tokenizers", "jinja2", "vl_convert", "gguf"}
"""Libraries that take from 0.1 to 3 s to import."""

PUBLIC = {
    "Context",
    "LlmzipError",
    "Predictor",
    "compress",
    "decompress",
    "load_predictor",
    "read_info",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The path inside the package, with forward slashes."""
    return path.relative_to(PACKAGE).as_posix()


def layer(path: Path) -> str:
    """The first component below the package."""
    return place(path).split("/")[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def imported_names(node: ast.AST, path: Path) -> list[str]:
    """Dotted names that the statement imports, each with what is taken from it: "llmzip.errors.LlmzipError"."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        folder = ["llmzip", *path.relative_to(PACKAGE).parts[:-1]]
        base = folder[: len(folder) - node.level + 1] if node.level else []
        return [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
    return []


def all_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        yield from imported_names(node, path)


def imports_at_load(path: Path) -> Iterator[str]:
    """As ``all_imports``, without those in functions and under ``if TYPE_CHECKING``."""
    pending: list[ast.AST] = [tree(path)]
    while pending:
        node = pending.pop()
        is_deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        )
        if not is_deferred:
            yield from imported_names(node, path)
            pending.extend(ast.iter_child_nodes(node))


def imported_layer(name: str) -> str | None:
    """The layer that a dotted name belongs to; None where it is not of this package."""
    root, *rest = name.split(".")
    if root != "llmzip":
        return None
    return rest[0] if rest and rest[0] in MAY_IMPORT else ROOT


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer(path) for path in MODULES} <= set(MAY_IMPORT)


def test_layers_form_no_cycle() -> None:
    """What a layer may import stands above it in the table."""
    seen: set[str] = set()
    for name, allowed in MAY_IMPORT.items():
        assert allowed <= seen
        seen.add(name)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_go_down_the_layers(path: Path) -> None:
    allowed = MAY_IMPORT[layer(path)] | {layer(path)}
    wrong = [name for name in all_imports(path) if (imported_layer(name) or layer(path)) not in allowed]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_libraries_are_imported_in_their_place_only(path: Path) -> None:
    wrong = [
        name
        for name in all_imports(path)
        if (library := name.split(".")[0]) in OUTSIDE and not place(path).startswith(OUTSIDE[library])
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) != "training"], ids=place)
def test_torch_is_imported_only_when_it_runs(path: Path) -> None:
    assert [name for name in imports_at_load(path) if name.split(".")[0] == "torch"] == []


@pytest.mark.parametrize("path", [path for path in MODULES if not place(path).startswith(MAY_PRINT)], ids=place)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_every_module_says_what_it_does(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def modules_after(statement: str) -> set[str]:
    """Names of the modules loaded after the statement ran in a fresh interpreter."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('\\nloaded', *sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "statement",
    [
        "import llmzip",
        "import runpy; sys.argv[1:] = ['--help']; runpy.run_module('llmzip', run_name='__main__')",
    ],
    ids=["import", "--help"],
)
def test_start_up_loads_nothing_heavy(statement: str) -> None:
    loaded = modules_after(statement)
    assert "llmzip" in loaded
    assert loaded & NOT_AT_START_UP == set()


def test_help_runs() -> None:
    result = subprocess.run([sys.executable, "-m", "llmzip", "--help"], capture_output=True, text=True, check=True)
    assert "compress" in result.stdout
    assert result.stderr == ""


def test_public_names_are_sorted_and_complete() -> None:
    names = llmzip.__all__
    assert list(names) == sorted(names)
    assert set(names) >= PUBLIC
    for name in names:
        assert getattr(llmzip, name) is not None
    ours = {name for name, value in vars(llmzip).items() if str(getattr(value, "__module__", "")).startswith("llmzip")}
    assert {name for name in ours if not name.startswith("_")} <= set(names)
