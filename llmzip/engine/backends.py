"""The few array calls that numpy and torch spell differently. No arithmetic of its own. May import ``errors``.

Every call here is either exact (casts of integers, maxima, look-ups, sums of integers in float64) or a single
IEEE-754 operation an element.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelError

Array = Any
"""A numpy array or a torch tensor: the arithmetic in ``array_ops`` is the same text for both."""


class NumpyBackend:
    """Arrays in main memory."""

    def array(self, values: NDArray[Any]) -> Array:
        return values

    def numpy(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def zeros(self, shape: tuple[int, ...], kind: str) -> Array:
        return np.zeros(shape, kind)

    def cast(self, values: Array, kind: str) -> Array:
        return values.astype(kind)

    def maximum(self, values: Array) -> Array:
        """Over the last axis, which is kept."""
        return values.max(axis=-1, keepdims=True)

    def minimum(self, values: Array) -> Array:
        return values.min(axis=-1, keepdims=True)

    def sum(self, values: Array) -> Array:
        """Of integers held in floats, over the last axis, which is kept; float64, exact."""
        return values.sum(axis=-1, keepdims=True, dtype=np.float64)

    def at_least(self, values: Array, limit: float) -> Array:
        return np.maximum(values, np.float32(limit))

    def at_most(self, values: Array, limit: float) -> Array:
        return np.minimum(values, np.float32(limit))

    def absolute(self, values: Array) -> Array:
        return np.abs(values)

    def divide(self, numerator: float, values: Array) -> Array:
        return np.asarray(numerator, values.dtype) / values

    def over(self, values: Array, divisor: float) -> Array:
        return values / np.asarray(divisor, values.dtype)

    def rint(self, values: Array) -> Array:
        return np.rint(values)

    def floor(self, values: Array) -> Array:
        return np.floor(values)

    def sqrt(self, values: Array) -> Array:
        return np.sqrt(values)

    def where(self, condition: Array, yes: Array, no: float) -> Array:
        return np.where(condition, yes, np.asarray(no, yes.dtype))

    def look_up(self, table: Array, indices: Array) -> Array:
        """``table`` at indices that are integers held in floats."""
        return table[indices.astype(np.int32)]

    def concatenate(self, arrays: list[Array], axis: int) -> Array:
        return np.concatenate(arrays, axis)

    def transpose(self, values: Array, *axes: int) -> Array:
        return values.transpose(axes)

    def arange(self, first: int, last: int) -> Array:
        return np.arange(first, last)


class TorchBackend:
    """Tensors on a device. torch is imported only when one is made."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self.device = torch.device(device)
        self._check_products()

    def _check_products(self) -> None:
        """ModelError where torch is set to multiply float32 in fewer bits (TF32, bfloat16), which would round."""
        rng = np.random.default_rng(0)
        left, right = rng.integers(-65535, 65536, (256, 256)), rng.integers(-1, 2, (256, 256))
        product = self.numpy(self.array(left.astype(np.float32)) @ self.array(right.astype(np.float32)))
        if not np.array_equal(product, (left @ right).astype(np.float32)):
            raise ModelError(
                f"torch multiplies with reduced precision on {self.device}: call "
                "torch.set_float32_matmul_precision('highest') and leave TF32 off"
            )

    def array(self, values: NDArray[Any]) -> Array:
        return self._torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def numpy(self, values: Array) -> NDArray[Any]:
        result: NDArray[Any] = values.cpu().numpy()
        return result

    def zeros(self, shape: tuple[int, ...], kind: str) -> Array:
        return self._torch.zeros(shape, dtype=getattr(self._torch, kind), device=self.device)

    def cast(self, values: Array, kind: str) -> Array:
        return values.to(getattr(self._torch, kind))

    def maximum(self, values: Array) -> Array:
        return values.amax(-1, keepdim=True)

    def minimum(self, values: Array) -> Array:
        return values.amin(-1, keepdim=True)

    def sum(self, values: Array) -> Array:
        return values.sum(-1, keepdim=True, dtype=self._torch.float64)

    def at_least(self, values: Array, limit: float) -> Array:
        return values.clamp_min(limit)

    def at_most(self, values: Array, limit: float) -> Array:
        return values.clamp_max(limit)

    def absolute(self, values: Array) -> Array:
        return values.abs()

    def divide(self, numerator: float, values: Array) -> Array:
        # Not ``numerator / values``: torch computes that as reciprocal times numerator, which rounds twice.
        return self._torch.full_like(values, numerator) / values

    def over(self, values: Array, divisor: float) -> Array:
        # Not ``values / divisor``: on CUDA torch multiplies by the reciprocal of a Python number, which rounds twice.
        return values / self._torch.full_like(values, divisor)

    def rint(self, values: Array) -> Array:
        return values.round()  # half to even, as IEEE-754 rint

    def floor(self, values: Array) -> Array:
        return values.floor()

    def sqrt(self, values: Array) -> Array:
        return values.sqrt()

    def where(self, condition: Array, yes: Array, no: float) -> Array:
        return self._torch.where(condition, yes, self._torch.tensor(no, dtype=yes.dtype, device=self.device))

    def look_up(self, table: Array, indices: Array) -> Array:
        return table[indices.long()]

    def concatenate(self, arrays: list[Array], axis: int) -> Array:
        return self._torch.cat(arrays, axis)

    def transpose(self, values: Array, *axes: int) -> Array:
        return values.permute(axes)

    def arange(self, first: int, last: int) -> Array:
        return self._torch.arange(first, last, device=self.device)
