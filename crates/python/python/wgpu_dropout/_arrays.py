"""The functions for NumPy: they check and convert what the native part then computes on."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _native

Mode = Literal["inverted", "vanilla"]

# Bounds of the contract.
_BOUNDS = {
    "seed": 2**64,
    "layer": 2**32,
    "step": 2**32,
    "row": 2**32,
    "col": 2**35,
}
# Types that are computed in f32 and rounded back to the nearest, ties to even. NumPy knows bfloat16
# by its name if the package ml_dtypes is there.
_ROUNDED = ("float16", "bfloat16")


def whole(name: str, value: Any) -> int:
    """Returns a whole number within the bounds of the contract."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: must be a whole number") from None
    bound = _BOUNDS[name]
    if not 0 <= number < bound:
        raise ValueError(f"{name} is {number}: must be 0 to 2**{bound.bit_length() - 1} - 1")
    return number


def site(
    rate: float,
    seed: int,
    layer: int,
    step: int,
    row: int,
    col: int,
    mode: Mode = "inverted",
    training: bool = True,
) -> _native.Site:
    """Returns a dropout site of checked numbers."""
    try:
        rate = float(rate)
    except (TypeError, ValueError):
        raise TypeError(f"rate is {rate!r}: must be a number") from None
    return _native.Site(
        rate,
        whole("seed", seed),
        whole("layer", layer),
        whole("step", step),
        whole("row", row),
        whole("col", col),
        mode,
        training,
    )


def _array(name: str, x: Any) -> NDArray[Any]:
    """Returns an argument as an array, without a copy where that is possible."""
    if isinstance(x, np.ndarray):
        return x
    device = getattr(x, "device", None)
    device = getattr(device, "type", getattr(device, "platform", device))
    if isinstance(device, str) and device != "cpu":
        raise TypeError(f"{name} is on {device}: only arrays in the memory of the CPU are taken")
    try:
        return np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name} is no array that NumPy can take: {error}") from None


def _floats(name: str, x: Any) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Returns an argument as an array, and its elements as f32 in C order."""
    array = _array(name, x)
    if array.dtype == np.float32 and array.dtype.isnative:
        return array, np.ascontiguousarray(array)
    if array.dtype.name in _ROUNDED:
        return array, np.ascontiguousarray(array, dtype=np.float32)
    raise TypeError(
        f"{name} is {array.dtype}: must be float32, float16 or bfloat16; "
        f"convert it with {name}.astype(numpy.float32)"
    )


def _result(
    name: str, out: Any, like: NDArray[Any], shape: tuple[int, ...], read: list[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Returns the array to return, and one of f32 in C order to compute in.

    They are the same where that is possible: if the given array has gaps, another type, or shares
    memory with one that is read, the result is computed beside it and copied.
    """
    if out is None:
        computed = np.empty(shape, np.float32)
        return (computed if like.dtype == np.float32 else np.empty(shape, like.dtype)), computed
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is {type(out).__name__}: must be a NumPy array")
    if out.shape != shape:
        raise ValueError(f"{name} has the shape {out.shape}: must be {shape}")
    if out.dtype != like.dtype:
        raise TypeError(f"{name} is {out.dtype}: must be {like.dtype}, as the input")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    there = out.dtype == np.float32 and out.flags.c_contiguous and out.dtype.isnative
    if there and not any(np.may_share_memory(out, array) for array in read):
        return out, out
    return out, np.empty(shape, np.float32)


def _finished(result: NDArray[Any], computed: NDArray[np.float32]) -> NDArray[Any]:
    if result is not computed:
        # NumPy rounds to the nearest, ties to even.
        np.copyto(result, computed, casting="same_kind")
    return result


def _axes(
    ndim: int, shape: tuple[int, ...], rows: Sequence[int] | None, cols: Sequence[int] | None
) -> _native.Axes | None:
    """Returns the map of axes; None if no axes are given."""
    if rows is None and cols is None:
        return None

    def axes(name: str, given: Sequence[int] | None) -> list[int]:
        found = []
        for axis in () if given is None else given:
            if not -ndim <= axis < ndim:
                raise ValueError(
                    f"{name}: axis {axis}, but the array has the axes 0 to {ndim - 1}, "
                    f"or {-ndim} to -1"
                )
            found.append(axis % ndim)
        return found

    return _native.Axes(list(shape), axes("row_axes", rows), axes("col_axes", cols))


def _is_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return (
        a.__array_interface__["data"] == b.__array_interface__["data"]
        and a.shape == b.shape
        and a.strides == b.strides
    )


def dropout(
    x: Any,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
    mode: Mode = "inverted",
    training: bool = True,
    row_axes: Sequence[int] | None = None,
    col_axes: Sequence[int] | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Drops each element of an array with the probability ``rate``.

    ``y = M·s·x``, where ``M`` is the mask, and ``s`` is ``1/(1 - rate)`` in the mode
    ``'inverted'`` and 1 in the mode ``'vanilla'``. Applied to the gradient of ``y`` with the same
    arguments, it returns the gradient of ``x``.

    Args:
        x: Array of float32, or of float16 or bfloat16, which are computed in float32 and rounded
            to the nearest, ties to even. Any strides.
        rate: Probability to drop, from 0 to 1. It is rounded to a multiple of 1/65536.
        seed: 0 to 2**64 - 1.
        layer: Number of the dropout site, 0 to 2**32 - 1.
        step: Number of the update, 0 to 2**32 - 1.
        row: Row of the whole tensor in which the array starts, for parts of a batch.
        col: Column of the whole tensor in which the array starts.
        mode: ``'inverted'`` scales in training, ``'vanilla'`` in prediction.
        training: False for prediction, which drops nothing.
        row_axes: Axes that feed the mask's rows; negative ones count from the end. All elements
            along an axis that is in neither list share one draw: ``row_axes=[0], col_axes=[1]``
            drops channels of ``[N, C, H, W]``, ``row_axes=[0], col_axes=[]`` whole samples.
        col_axes: Axes that feed the mask's columns.
        out: Array to write, of the shape and type of ``x``; ``x`` itself for dropout in place.

    Returns:
        The result: ``out`` if it is given.

    Raises:
        TypeError: For another type of elements, and for arrays on another device.
        ValueError: For numbers out of range, and for an ``out`` that does not fit.
    """
    array, values = _floats("x", x)
    place = site(rate, seed, layer, step, row, col, mode, training)
    axes = _axes(array.ndim, array.shape, row_axes, col_axes)
    plain = axes is None and values is array
    if plain and isinstance(out, np.ndarray) and _is_same(out, array):
        if not out.flags.writeable:
            raise ValueError("out is read-only")
        _native.dropout_in_place(out, place)
        return out
    result, computed = _result("out", out, array, array.shape, [values])
    _native.dropout(values, computed, place, axes)
    return _finished(result, computed)


def alpha_dropout(
    x: Any,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
    training: bool = True,
    backward: bool = False,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Drops elements to SELU's negative saturation, which keeps mean and variance.

    ``y = a·x + b`` for kept elements and ``y = a·α' + b`` for the others. Source: Klambauer et al.,
    "Self-normalizing neural networks" (2017). With ``backward=True``, ``x`` is the gradient of
    ``y``, and the result that of ``x``. The other arguments are those of :func:`dropout`.
    """
    array, values = _floats("x", x)
    place = site(rate, seed, layer, step, row, col, training=training)
    result, computed = _result("out", out, array, array.shape, [values])
    _native.alpha_dropout(values, computed, place, backward)
    return _finished(result, computed)


def gaussian_dropout(
    x: Any,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
    training: bool = True,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Multiplies elements by Gaussian noise of mean 1 and variance ``rate/(1 - rate)``.

    Source: Srivastava et al., JMLR 15 (2014), section 10. It is its own backward pass. The
    arguments are those of :func:`dropout`.
    """
    array, values = _floats("x", x)
    place = site(rate, seed, layer, step, row, col, training=training)
    result, computed = _result("out", out, array, array.shape, [values])
    _native.gaussian_dropout(values, computed, place)
    return _finished(result, computed)


def mask(
    shape: int | Sequence[int],
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
) -> NDArray[np.uint8]:
    """Returns the mask of a tensor of this shape as bytes: 1 for a kept element, else 0."""
    place = site(rate, seed, layer, step, row, col)
    bytes_ = np.empty(shape, np.uint8)
    _native.mask(bytes_, place)
    return bytes_


def attention_mask(
    shape: Sequence[int],
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    sequence: int = 0,
    head: int = 0,
    heads: int | None = None,
    query: int = 0,
    key: int = 0,
    pitch: int | None = None,
) -> NDArray[np.uint8]:
    """Returns the mask of attention scores ``[B, H, Q, K]`` as bytes: 1 for a kept score.

    ``row = (b·heads + h)·pitch + q`` and ``col = k``, all counted in the whole, so that the scores
    of a shard of heads, queries or keys, or of a sequence of a pack, are those of the whole.

    Args:
        shape: Sequences, query heads, queries and keys of the scores.
        sequence: First sequence of the scores in the whole.
        head: First query head.
        heads: Query heads of the whole; ``head + H`` by default.
        query: Position of the first query in its sequence.
        key: Position of the first key in its sequence.
        pitch: Rows for each head of a sequence; ``query + Q`` by default. A declared length, such
            as the context's, keeps masks from depending on the padding.
    """
    batch, shard, queries, keys = (operator.index(size) for size in shape)
    heads = head + shard if heads is None else heads
    pitch = query + queries if pitch is None else pitch
    if min(sequence, head, query) < 0 or head + shard > heads or query + queries > pitch:
        raise ValueError(
            f"query heads {head} to {head + shard} of {heads}, queries {query} to "
            f"{query + queries} of a pitch of {pitch}: must lie in the whole"
        )
    scores = np.empty((batch, shard, queries, keys), np.uint8)
    for b, h in np.ndindex(batch, shard):
        row = ((sequence + b) * heads + head + h) * pitch + query
        place = site(rate, seed, layer, step, row, key)
        _native.mask(scores[b, h], place)
    return scores


def mask_bits(
    rows: int,
    cols: int,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
) -> NDArray[np.uint32]:
    """Returns the mask as bits of words ``[rows, ceil(cols/32)]``, the lowest bit first.

    Bits past the last column are 0.
    """
    place = site(rate, seed, layer, step, row, col)
    rows, cols = operator.index(rows), operator.index(cols)
    if rows < 0 or cols < 0:
        raise ValueError(f"a mask of {rows}×{cols}: sizes must not be negative")
    words = np.empty((rows, -(-cols // 32)), np.uint32)
    _native.mask_bits(words, cols, place)
    return words


def linear(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    relu: bool = False,
    rate: float = 0.0,
    seed: int = 0,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
    mode: Mode = "inverted",
    training: bool = True,
    out: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Computes a layer in one pass: ``Y = M·s·relu(X·W + b)``.

    Args:
        x: ``[..., I]``
        weight: ``[I, O]``
        bias: ``[O]``
        relu: True if a ReLU precedes the dropout.

    The other arguments are those of :func:`dropout`.

    Returns:
        ``[..., O]``
    """
    array, values = _floats("x", x)
    _, weights = _floats("weight", weight)
    biases = None if bias is None else _floats("bias", bias)[1]
    if weights.ndim != 2 or array.ndim == 0 or array.shape[-1] != weights.shape[0]:
        raise ValueError(
            f"x has the shape {array.shape} and weight {weights.shape}: must be [..., I] and [I, O]"
        )
    place = site(rate, seed, layer, step, row, col, mode, training)
    shape = (*array.shape[:-1], weights.shape[1])
    read = [array, values, weights] + ([] if biases is None else [biases])
    result, computed = _result("out", out, array, shape, read)
    _native.linear(values, weights, biases, computed, relu, place)
    return _finished(result, computed)


def linear_grad(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    output: Any = None,
    rate: float = 0.0,
    seed: int = 0,
    layer: int = 0,
    step: int = 0,
    row: int = 0,
    col: int = 0,
    mode: Mode = "inverted",
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Computes the gradients of a layer from that of its output.

    Args:
        grad_output: Gradient of ``Y``, ``[..., O]``
        x: ``[..., I]``
        weight: ``[I, O]``
        output: ``Y``, if a ReLU precedes the dropout. Its sign is the ReLU's mask.

    The other arguments are those of :func:`linear`.

    Returns:
        Gradients of ``X``, ``W`` and ``b``.
    """
    _, dy = _floats("grad_output", grad_output)
    array, values = _floats("x", x)
    _, weights = _floats("weight", weight)
    outputs = None if output is None else _floats("output", output)[1]
    place = site(rate, seed, layer, step, row, col, mode)
    dx, dw = np.empty(array.shape, np.float32), np.empty(weights.shape, np.float32)
    db = np.empty(weights.shape[-1:], np.float32)
    _native.linear_grad(dy, values, weights, outputs, dx, dw, db, place)
    return dx, dw, db
