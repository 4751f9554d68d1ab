"""Forms of dropout for the frameworks: which elements share a draw."""

from __future__ import annotations

import math

# Forms of the operation, by the axes that draw: each element; each sample and channel; each sample.
# Alpha dropout draws as elements do. Its gradient is another form, not a mask.
FORMS = ("elements", "channels", "samples", "alpha", "alpha gradient")


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
