"""The functions for JAX."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from conftest import lines

import wgpu_dropout as wd

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from wgpu_dropout import _native  # noqa: E402
from wgpu_dropout import jax as wj  # noqa: E402

KEY = {"seed": 2**64 - 1, "layer": 0x8000_0001, "step": 2**32 - 1}
FORMS = [
    ("elements", (6, 5, 33)),
    ("elements", (9,)),
    ("elements", ()),
    ("channels", (3, 4, 5, 6)),
    ("samples", (4, 5, 6)),
    ("alpha", (7, 13)),
    ("alpha gradient", (7, 13)),
]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


@pytest.mark.parametrize("line", lines("mask"), ids=lambda line: line.text[:40])
@pytest.mark.parametrize("form", ["crate", "words"])
def test_masks_are_those_of_the_contract(line, form):
    seed, layer, step, row, col, rows, cols = line.whole(*range(7))
    if rows * cols == 0 or (form == "words" and rows * cols > 2_000_000):
        pytest.skip("nothing to draw, or too long")
    where = {"seed": seed, "layer": layer, "step": step, "row": row, "col": col}
    if form == "crate":
        mask = wj.dropout(jnp.ones((rows, cols)), line.drop(7), **where) != 0
    else:
        mask = wj.mask(rows, cols, line.drop(7), **where)
    found = hashlib.sha256(np.asarray(mask).astype(np.uint8).tobytes()).hexdigest()
    assert (int(mask.sum()), found) == (int(line.words[8]), line.words[9])


@pytest.mark.parametrize(("form", "shape"), FORMS)
def test_words_give_what_the_crate_gives(form, shape):
    x = jnp.asarray(noise(*shape))
    words = wj._words(form, 0.3, 2**64 - 5, 0x8000_0001, 2**32 - 1, 5, 2**35 - 2000)
    here, there = wj._on_cpu(x, words), wj._anywhere(form, 0.3, x, words)
    assert np.array_equal(here, there)
    if shape and "alpha" not in form:
        assert (np.asarray(here) == 0).any() and (np.asarray(here) != 0).any()


def test_gradients_are_the_same_dropout_of_the_gradient():
    x, dy = noise(6, 33), noise(6, 33)
    y, back = jax.vjp(lambda x: wj.dropout(x, 0.3, **KEY), jnp.asarray(x))
    assert np.array_equal(y, wd.dropout(x, 0.3, **KEY))
    assert np.array_equal(back(jnp.asarray(dy))[0], wd.dropout(dy, 0.3, **KEY))
    # Another step's mask is another gradient: a control.
    assert not np.array_equal(back(jnp.asarray(dy))[0], wd.dropout(dy, 0.3, **{**KEY, "step": 0}))
    _, back = jax.vjp(lambda x: wj.alpha_dropout(x, 0.3, **KEY), jnp.asarray(x))
    right = wd.alpha_dropout(dy, 0.3, backward=True, **KEY)
    assert np.array_equal(back(jnp.asarray(dy))[0], right)


def test_a_step_is_traced_and_compiled_once():
    compiled = 0

    @jax.jit
    def run(x, step, row):
        nonlocal compiled
        compiled += 1
        return wj.dropout(x, 0.3, seed=42, step=step, row=row)

    x = noise(4, 33)
    for step in range(3):
        y = run(x, jnp.uint32(step), jnp.uint32(7 * step))
        assert np.array_equal(y, wd.dropout(x, 0.3, seed=42, step=step, row=7 * step))
    assert compiled == 1


def test_recomputation_draws_the_same_mask():
    x, w = jnp.asarray(noise(16, 32)), jnp.asarray(noise(32, 32))

    def loss(w, x):
        return jnp.tanh(wj.dropout(x @ w, 0.5, **KEY)).sum()

    plain, again = jax.grad(loss)(w, x), jax.grad(jax.checkpoint(loss))(w, x)
    assert np.allclose(plain, again, rtol=1e-6, atol=1e-6)
    assert np.array_equal(plain == 0, again == 0)


def test_halves_are_rounded_once():
    for dtype in (jnp.float16, jnp.bfloat16):
        x = jnp.asarray(noise(5, 100)).astype(dtype)
        y = wj.dropout(x, 0.3, **KEY)
        right = wd.dropout(np.asarray(x.astype(jnp.float32)), 0.3, **KEY)
        assert y.dtype == dtype and np.array_equal(y, jnp.asarray(right).astype(dtype))


def test_channels_and_samples_are_dropped_whole():
    ones = jnp.ones((5, 6, 3, 4))
    rows = wj.dropout(jnp.ones((5, 6)), 0.5, seed=42)[:, :, None, None]
    assert np.array_equal(
        wj.dropout_channels(ones, 0.5, seed=42), jnp.broadcast_to(rows, ones.shape)
    )
    column = wj.dropout(jnp.ones((5, 1)), 0.5, seed=42)[:, :, None, None]
    assert np.array_equal(wj.drop_path(ones, 0.5, seed=42), jnp.broadcast_to(column, ones.shape))


def test_refusals():
    x = jnp.ones(3)
    with pytest.raises(ValueError, match="seed is -1"):
        wj.dropout(x, 0.5, seed=-1)
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        wj.dropout(x, 1.5, seed=1)
    with pytest.raises(TypeError, match="int32: must be float32"):
        wj.dropout(jnp.ones(3, jnp.int32), 0.5, seed=1)
    assert wj.dropout(x, 0.5, seed=1, training=False) is x
    assert _native.threshold(0.5) == 32768
