"""The trained weights as a few small numpy files, which a machine with nothing but numpy and torch can send away."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PART_BYTES = 15 << 20


def write_parts(state: dict[str, Tensor], folder: Path) -> None:
    """``final-00.npz`` and so on: the tensors in float16, each file below 16 MiB. The last one is written last."""
    parts: list[dict[str, NDArray[np.float16]]] = [{}]
    for name, tensor in state.items():
        values = tensor.detach().to("cpu", torch.float16).numpy()
        if not np.isfinite(values).all():
            raise ValueError(f"{name} does not fit float16: the run went astray, look at log.jsonl")
        if sum(other.nbytes for other in parts[-1].values()) + values.nbytes > PART_BYTES:
            parts.append({})
        parts[-1][name] = values
    for number, part in enumerate(parts):
        np.savez(folder / f"final-{number:02}.npz", **part)  # type: ignore[arg-type]


def read_parts(folder: Path) -> dict[str, Tensor]:
    """The tensors in float32; an empty dict where there are no parts."""
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob("final-*.npz")):
        with np.load(path, allow_pickle=False) as part:
            state |= {name: torch.from_numpy(part[name].astype(np.float32)) for name in part.files}
    return state
