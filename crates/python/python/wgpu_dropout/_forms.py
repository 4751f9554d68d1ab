"""Forms of dropout for the frameworks: which elements share a draw, and what becomes of them."""

from __future__ import annotations

import math

import numpy as np

from . import _native

# Forms of the operation, by the axes that draw: each element; each sample and channel; each sample.
# Alpha dropout draws as elements do. Its gradient is another form, not a mask.
FORMS = ("elements", "channels", "samples", "alpha", "alpha gradient")
_SATURATION = -1.7580993408473766  # -λ·α of SELU


def affine(form: str, rate: float) -> tuple[float, float, float]:
    """Returns scale and shift of kept elements, and the value of dropped ones."""
    keep = 1.0 - _native.rate_in_effect(rate)
    if keep == 0.0:
        return 0.0, 0.0, 0.0
    if not form.startswith("alpha"):
        return float(np.float32(1.0 / keep)), 0.0, 0.0
    scale = 1.0 / math.sqrt(keep + _SATURATION * _SATURATION * keep * (1.0 - keep))
    if form == "alpha gradient":
        return float(np.float32(scale)), 0.0, 0.0
    shift = -scale * _SATURATION * (1.0 - keep)
    dropped = scale * _SATURATION + shift
    return float(np.float32(scale)), float(np.float32(shift)), float(np.float32(dropped))


def place(form: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Returns the elements of a row, the elements that share a column, and the columns."""
    inner = math.prod(shape[2:])
    match form:
        case "channels":
            return max(1, shape[1] * inner), max(1, inner), max(1, shape[1])
        case "samples":
            return max(1, math.prod(shape[1:])), 1, 1
        case _:
            cols = shape[-1] if shape else 1
            return max(1, cols), 1, max(1, cols)


def rows_of_a_sample(form: str, shape: tuple[int, ...]) -> int:
    """Returns the rows of the mask that each entry of the first axis has."""
    return math.prod(shape[1:-1]) if form in ("elements", "alpha", "alpha gradient") else 1


def threshold(rate: float) -> int:
    """Returns the number below which a draw keeps its element."""
    return 65536 - round(_native.rate_in_effect(rate) * 65536)
