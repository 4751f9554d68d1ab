"""Native part of the package. Arrays are contiguous in C order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

class Site:
    def __new__(
        cls,
        rate: float,
        seed: int,
        layer: int,
        step: int,
        row: int,
        col: int,
        mode: str = "inverted",
        training: bool = True,
    ) -> Site: ...

class Axes:
    def __new__(cls, shape: Sequence[int], rows: Sequence[int], cols: Sequence[int]) -> Axes: ...

def rate_in_effect(rate: float) -> float:
    """Returns the drop rate in effect: the multiple of 1/65536 that is drawn for a rate."""

def threshold(rate: float) -> int:
    """Returns the number below which a draw keeps its element."""

def affine(form: str, rate: float) -> tuple[float, float, float]:
    """Returns scale and shift of kept elements, and the value of dropped ones."""

def num_threads() -> int:
    """Returns the number of threads that the package computes on."""

def set_num_threads(count: int) -> None:
    """Sets the number of threads. Calls that run at that moment finish on theirs."""

def dropout(x: _Floats, out: _Floats, site: Site, axes: Axes | None) -> None: ...
def dropout_in_place(x: _Floats, site: Site) -> None: ...
def alpha_dropout(x: _Floats, out: _Floats, site: Site, backward: bool) -> None: ...
def gaussian_dropout(x: _Floats, out: _Floats, site: Site) -> None: ...
def mask(out: NDArray[np.uint8], site: Site) -> None: ...
def mask_bits(out: NDArray[np.uint32], cols: int, site: Site) -> None: ...
def linear(
    x: _Floats,
    weight: _Floats,
    bias: _Floats | None,
    out: _Floats,
    relu: bool,
    site: Site,
) -> None: ...
def linear_grad(
    grad_output: _Floats,
    x: _Floats,
    weight: _Floats,
    output: _Floats | None,
    grad_input: _Floats,
    grad_weight: _Floats,
    grad_bias: _Floats,
    site: Site,
) -> None: ...
