"""Dropout for JAX whose mask is a specification.

On the CPU, the functions run on the crate, without a copy; on any other device they are plain
operations on 32-bit words. Both draw the same masks. ``step`` and ``row`` may be traced, so that no
update is compiled anew::

    from wgpu_dropout import jax as wd

    y = wd.dropout(x, 0.1, seed=42, layer=3, step=step)
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _native
from ._arrays import whole
from ._forms import FORMS, place

__all__ = ["alpha_dropout", "drop_path", "dropout", "dropout_channels", "mask"]

_LIBRARY = ctypes.CDLL(_native.__file__)
jax.ffi.register_ffi_target(
    "wgpu_dropout", jax.ffi.pycapsule(_LIBRARY.wgpu_dropout_xla), platform="cpu"
)

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def _product(factor: int, word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the high and the low word of a product, by halves."""
    f1, f0 = np.uint32(factor >> 16), np.uint32(factor & 0xFFFF)
    w1, w0 = word >> 16, word & 0xFFFF
    p00, p01, p10 = f0 * w0, f0 * w1, f1 * w0
    middle = (p00 >> 16) + (p01 & 0xFFFF) + (p10 & 0xFFFF)
    high = f1 * w1 + (p01 >> 16) + (p10 >> 16) + (middle >> 16)
    return high, np.uint32(factor) * word


def _kept(rows: int, cols: int, words: jax.Array) -> jax.Array:
    """Returns the mask ``[rows, cols]``: True for a kept element.

    Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    _, limit, seed_low, seed_high, layer, step, row, col_low, col_high = words
    first, lane = col_low >> 3 | col_high << 29, col_low & 7
    groups = (cols + 14) // 8
    shape = (rows, groups)
    c0 = first + jax.lax.broadcasted_iota(jnp.uint32, shape, 1)
    c1 = row + jax.lax.broadcasted_iota(jnp.uint32, shape, 0)
    c2, c3 = jnp.full(shape, layer), jnp.full(shape, step)
    k0, k1 = seed_low, seed_high
    for _ in range(10):
        high0, low0 = _product(_MULTIPLIERS[0], c0)
        high1, low1 = _product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + np.uint32(_WEYL[0]), k1 + np.uint32(_WEYL[1])
    halves = [half for word in (c0, c1, c2, c3) for half in (word & 0xFFFF, word >> 16)]
    draws = jnp.stack(halves, -1).reshape(rows, 8 * groups)
    draws = jax.lax.dynamic_slice_in_dim(draws, lane.astype(jnp.int32), cols, 1)
    return draws < limit


def _anywhere(form: str, rate: float, x: jax.Array, words: jax.Array) -> jax.Array:
    per_row, per_col, cols = place(form, x.shape)
    if x.size == 0:
        return x
    rows = x.size // per_row
    kept = _kept(rows, cols, words)
    scale, shift, dropped = (np.float32(value) for value in _native.affine(form, rate))
    wide = x.reshape(rows, cols, per_row // cols)
    return jnp.where(kept[:, :, None], wide * scale + shift, dropped).reshape(x.shape)


def _on_cpu(x: jax.Array, words: jax.Array) -> jax.Array:
    call = jax.ffi.ffi_call("wgpu_dropout", jax.ShapeDtypeStruct(x.shape, x.dtype))
    return call(x, words)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _dropped(form: str, rate: float, x: jax.Array, words: jax.Array) -> jax.Array:
    elsewhere = partial(_anywhere, form, rate)
    return jax.lax.platform_dependent(x, words, cpu=_on_cpu, default=elsewhere)


def _forward(form: str, rate: float, x: jax.Array, words: jax.Array) -> Any:
    return _dropped(form, rate, x, words), words


def _backward(form: str, rate: float, words: jax.Array, grad: jax.Array) -> Any:
    """Draws the mask again: only the words were kept."""
    form = "alpha gradient" if form == "alpha" else form
    words = words.at[0].set(FORMS.index(form))
    return _dropped(form, rate, grad, words), np.zeros(words.shape, jax.dtypes.float0)


_dropped.defvjp(_forward, _backward)


def _word(name: str, value: Any) -> Any:
    """Returns a number of 32 bits, which may be traced."""
    if isinstance(value, jax.Array | np.ndarray):
        return jnp.asarray(value).astype(jnp.uint32)
    return np.uint32(whole(name, value))


def _words(
    form: str, rate: float, seed: int, layer: int, step: Any, row: Any, col: int
) -> jax.Array:
    seed, col = whole("seed", seed), whole("col", col)
    layer = whole("layer", layer)
    numbers = [FORMS.index(form), _native.threshold(rate), seed & 0xFFFFFFFF, seed >> 32, layer]
    places = [_word("step", step), _word("row", row)]
    ends = [np.uint32(col & 0xFFFFFFFF), np.uint32(col >> 32)]
    return jnp.stack([*map(np.uint32, numbers), *places, *ends])


def _apply(
    form: str,
    x: jax.Array,
    rate: float,
    training: bool,
    seed: int,
    layer: int,
    step: Any,
    row: Any,
    col: int,
) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype == jnp.float64:
        raise TypeError(f"x is {x.dtype}: must be float32, float16 or bfloat16")
    words = _words(form, rate, seed, layer, step, row, col)
    if not training or rate == 0.0:
        return x
    return _dropped(form, float(rate), x.astype(jnp.float32), words).astype(x.dtype)


def dropout(
    x: jax.Array,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int | jax.Array = 0,
    row: int | jax.Array = 0,
    col: int = 0,
    training: bool = True,
) -> jax.Array:
    """Drops each element with the probability ``rate`` and multiplies the others by ``1/(1 - rate)``.

    Args:
        x: Array of float32, or of float16 or bfloat16, which are computed in float32. Its last axis
            has the mask's columns, all axes before it have its rows.
        rate: Probability to drop, a Python number.
        seed: 0 to 2**64 - 1, a Python number.
        layer: Number of the dropout site.
        step: Number of the update.
        row: Row of the whole array in which ``x`` starts, for the shards of a batch.
        col: Column of the whole array in which ``x`` starts.
        training: False for prediction, which drops nothing.
    """
    return _apply("elements", x, rate, training, seed, layer, step, row, col)


def dropout_channels(
    x: jax.Array,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int | jax.Array = 0,
    row: int | jax.Array = 0,
    col: int = 0,
    training: bool = True,
) -> jax.Array:
    """Drops whole channels of ``[N, C, …]``; the other arguments are those of :func:`dropout`."""
    return _apply("channels", x, rate, training, seed, layer, step, row, col)


def drop_path(
    x: jax.Array,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int | jax.Array = 0,
    row: int | jax.Array = 0,
    training: bool = True,
) -> jax.Array:
    """Drops whole samples; the other arguments are those of :func:`dropout`.

    Source: Huang et al., "Deep networks with stochastic depth" (2016).
    """
    return _apply("samples", x, rate, training, seed, layer, step, row, 0)


def alpha_dropout(
    x: jax.Array,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int | jax.Array = 0,
    row: int | jax.Array = 0,
    col: int = 0,
    training: bool = True,
) -> jax.Array:
    """Drops elements to SELU's negative saturation; the arguments are those of :func:`dropout`.

    Source: Klambauer et al., "Self-normalizing neural networks" (2017).
    """
    return _apply("alpha", x, rate, training, seed, layer, step, row, col)


def mask(
    rows: int,
    cols: int,
    rate: float,
    *,
    seed: int,
    layer: int = 0,
    step: int | jax.Array = 0,
    row: int | jax.Array = 0,
    col: int = 0,
) -> jax.Array:
    """Returns the mask ``[rows, cols]``: True for a kept element."""
    return _kept(rows, cols, _words("elements", rate, seed, layer, step, row, col))
