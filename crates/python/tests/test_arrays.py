"""The functions for NumPy."""

from __future__ import annotations

import hashlib
import os
import signal
import threading

import numpy as np
import pytest
from conftest import lines

import wgpu_dropout as wd

KEY = {"seed": 2**64 - 1, "layer": 0x8000_0001, "step": 2**32 - 1}


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def expected(x: np.ndarray, rate: float, **where: int) -> np.ndarray:
    keep = 1.0 - wd.rate_in_effect(rate)
    mask = wd.mask(x.shape, rate, **where).astype(bool)
    return np.where(mask, x * np.float32(1.0 / keep), np.float32(0.0))


@pytest.mark.parametrize("line", lines("mask"), ids=lambda line: line.text[:40])
def test_masks_are_those_of_the_contract(line):
    seed, layer, step, row, col, rows, cols = line.whole(*range(7))
    where = {"seed": seed, "layer": layer, "step": step, "row": row, "col": col}
    mask = wd.mask((rows, cols), line.drop(7), **where)
    assert (int(mask.sum()), sha(mask)) == (int(line.words[8]), line.words[9])
    if rows * cols > 0:
        # Another step is another mask: a control.
        where["step"] = (step + 1) % 2**32
        other = wd.mask((rows, cols), line.drop(7), **where)
        assert sha(other) != line.words[9] or mask.min() == mask.max()


@pytest.mark.parametrize("line", lines("bits"), ids=lambda line: line.text[:40])
def test_bits_are_those_of_the_contract(line):
    seed, layer, step, row, col, rows, cols = line.whole(*range(7))
    where = {"seed": seed, "layer": layer, "step": step, "row": row, "col": col}
    words = wd.mask_bits(rows, cols, line.drop(7), **where)
    assert words.ravel().tolist() == [int(word, 16) for word in line.words[8:]]


@pytest.mark.parametrize("line", lines("broadcast"), ids=lambda line: line.text[:40])
def test_broadcast_masks_are_those_of_the_contract(line):
    seed, layer, step = line.whole(0, 1, 2)

    def axes(text: str) -> list[int]:
        return [] if text == "-" else [int(axis) for axis in text.split(",")]

    shape = [int(size) for size in line.words[4].replace("x", ",").split(",")]
    ones = np.ones(shape, np.float32)
    where = {"seed": seed, "layer": layer, "step": step, "mode": "vanilla"}
    maps = {"row_axes": axes(line.words[5]), "col_axes": axes(line.words[6])}
    kept = wd.dropout(ones, line.drop(3), **where, **maps)
    assert sha(kept.astype(np.uint8)) == line.words[7]
    negative = {name: [axis - len(shape) for axis in given] for name, given in maps.items()}
    assert np.array_equal(kept, wd.dropout(ones, line.drop(3), **where, **negative))


@pytest.mark.parametrize("line", lines("attention"), ids=lambda line: line.text[:60])
def test_attention_masks_are_those_of_the_contract(line):
    names = ("seed", "layer", "step", "sequence", "head", "heads", "query", "key", "pitch")
    where = dict(zip(names, line.whole(*range(9))))
    shape = [int(size) for size in line.words[9].split("x")]
    scores = wd.attention_mask(shape, line.drop(10), **where)
    assert (int(scores.sum()), sha(scores)) == (int(line.words[11]), line.words[12])
    with pytest.raises(ValueError, match="must lie in the whole"):
        wd.attention_mask(shape, 0.5, **{**where, "head": where["heads"]})


@pytest.mark.parametrize("line", lines("rate"), ids=lambda line: line.text)
def test_rates_are_those_of_the_contract(line):
    # A keep rate has no drop rate of f64 if the difference is rounded.
    if 1.0 - line.drop(0) != float(line.words[0]):
        pytest.skip("no such drop rate")
    assert round((1.0 - wd.rate_in_effect(line.drop(0))) * 65536) == int(line.words[1])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 0), (33,), (5, 33), (3, 4, 70_000)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_dropout_is_the_mask_times_the_scale(shape, rate):
    x = noise(*shape)
    y = wd.dropout(x, rate, row=7, col=3, **KEY)
    assert y.shape == x.shape and y.dtype == np.float32
    if rate < 1.0:
        assert np.array_equal(y, expected(x, rate, row=7, col=3, **KEY))
    else:
        assert not y.any()
    assert np.array_equal(wd.dropout(x, rate, training=False, **KEY), x)
    there = x.copy()
    assert wd.dropout(there, rate, row=7, col=3, out=there, **KEY) is there
    assert np.array_equal(there, y)


def test_nan_and_infinity_do_not_survive_being_dropped():
    x = np.full((4, 100), np.nan, np.float32)
    x[1::2] = np.inf
    y = wd.dropout(x, 0.5, **KEY)
    assert np.array_equal(np.isfinite(y), wd.mask(x.shape, 0.5, **KEY) == 0)


def test_any_strides_give_the_elements_in_their_order():
    x = noise(6, 10, 14)
    right = wd.dropout(x, 0.3, **KEY)
    big = np.zeros((12, 10, 28), np.float32)
    big[::2, :, 3:17] = x
    for same in (
        np.asfortranarray(x),
        big[::2, :, 3:17],
        x.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    ):
        assert np.array_equal(same, x) and not same.flags.c_contiguous
        assert np.array_equal(wd.dropout(same, 0.3, **KEY), right)
        out = np.empty_like(same)
        wd.dropout(x, 0.3, out=out, **KEY)
        assert np.array_equal(out, right)
    swapped = x.astype(">f4")
    with pytest.raises(TypeError, match=">f4"):
        wd.dropout(swapped, 0.3, **KEY)


def test_shared_memory_is_found_by_address():
    memory = noise(400)
    right = wd.dropout(memory[:300].copy(), 0.3, **KEY)
    # Two objects on one memory, without a base in common, as PyTorch hands them out.
    address = memory.__array_interface__["data"][0]

    def at(byte: int) -> np.ndarray:
        interface = {
            "data": (address + byte, False),
            "shape": (300,),
            "typestr": "<f4",
            "version": 3,
        }
        holder = type("Holder", (), {"__array_interface__": interface})()
        return np.asarray(holder)

    shifted = wd.dropout(at(0), 0.3, out=at(40), **KEY)
    assert np.array_equal(shifted, right)
    memory[:] = noise(400)
    there = wd.dropout(at(0), 0.3, out=at(0), **KEY)
    assert np.array_equal(there, right)
    with pytest.raises(ValueError, match="out shares memory with x"):
        wd._native.dropout(at(0), at(40), wd._arrays.site(0.3, 1, 0, 0, 0, 0), None)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_computed_in_f32_and_rounded_once(name):
    dtype = np.float16 if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16
    x = noise(5, 100).astype(dtype)
    y = wd.dropout(x, 0.3, **KEY)
    right = wd.dropout(x.astype(np.float32), 0.3, **KEY)
    assert y.dtype == x.dtype and np.array_equal(y, right.astype(dtype))
    # Halves cannot hold the products: the rounding shows.
    assert not np.array_equal(y.astype(np.float32), right)


def test_alpha_dropout_keeps_mean_and_variance_and_gaussian_noise_the_mean():
    x = noise(400, 1000)
    y = wd.alpha_dropout(x, 0.2, **KEY)
    assert abs(y.mean()) < 0.01 and abs(y.std() - 1.0) < 0.01
    mask = wd.mask(x.shape, 0.2, **KEY)
    assert np.unique(y[mask == 0]).size == 1
    grad = wd.alpha_dropout(np.ones_like(x), 0.2, backward=True, **KEY)
    assert np.array_equal(grad != 0, mask != 0)
    noisy = wd.gaussian_dropout(np.ones_like(x), 0.2, **KEY)
    assert abs(noisy.mean() - 1.0) < 0.01 and abs(noisy.std() - 0.5) < 0.01
    # Plain dropout does not keep the variance: a control.
    assert abs(wd.dropout(x, 0.2, **KEY).std() - 1.0) > 0.05


@pytest.mark.parametrize("relu", [False, True])
def test_a_layer_agrees_with_numpy_forward_and_backward(relu):
    x, w, b, dy = noise(3, 5, 17), noise(17, 33) / 4, noise(33), noise(3, 5, 33)
    where = {"rate": 0.3, "row": 4, "col": 9, **KEY}
    y = wd.linear(x, w, b, relu=relu, **where)
    mask = wd.mask(y.shape, **where).astype(np.float64) / (1.0 - wd.rate_in_effect(0.3))
    exact = x.astype(np.float64) @ w + b
    active = (exact > 0) if relu else np.ones_like(exact)
    assert np.allclose(y, mask * active * exact, atol=1e-5)
    dx, dw, db = wd.linear_grad(dy, x, w, output=y if relu else None, **where)
    dz = (dy * mask * active).reshape(15, 33)
    assert np.allclose(dx.reshape(15, 17), dz @ w.T, atol=1e-5)
    assert np.allclose(dw, x.reshape(15, 17).T @ dz, atol=1e-5)
    assert np.allclose(db, dz.sum(0), atol=1e-5)
    # Another step has other gradients: a control.
    where["step"] = 0
    y = wd.linear(x, w, b, relu=relu, **where)
    other = wd.linear_grad(dy, x, w, output=y if relu else None, **where)
    assert not np.allclose(other[2], db, atol=1e-2)


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (TypeError, "float64: must be float32, float16 or bfloat16", {"x": np.ones(3)}),
        (TypeError, "int64: must be float32", {"x": np.ones(3, np.int64)}),
        (ValueError, "drop rate 2: must be between 0 and 1", {"rate": 2}),
        (ValueError, "must be between 0 and 1", {"rate": float("nan")}),
        (TypeError, "rate is 'a': must be a number", {"rate": "a"}),
        (ValueError, r"seed is -1: must be 0 to 2\*\*64 - 1", {"seed": -1}),
        (ValueError, r"seed is 18446744073709551616: must be", {"seed": 2**64}),
        (TypeError, "seed is 1.5: must be a whole number", {"seed": 1.5}),
        (ValueError, r"layer is 4294967296: must be 0 to 2\*\*32 - 1", {"layer": 2**32}),
        (ValueError, "step is -1", {"step": -1}),
        (ValueError, "col is 34359738368", {"col": 2**35}),
        (ValueError, "row offset", {"row": 2**32 - 1, "x": np.ones((3, 3), np.float32)}),
        (ValueError, "mode is 'up'", {"mode": "up"}),
        (ValueError, "axis 2, but the array has the axes 0 to 0", {"row_axes": [2]}),
        (ValueError, "mapped twice", {"row_axes": [0], "col_axes": [0]}),
        (ValueError, r"out has the shape \(2,\): must be \(3,\)", {"out": np.ones(2, np.float32)}),
        (TypeError, "out is float64: must be float32", {"out": np.ones(3)}),
        (TypeError, "out is list", {"out": [1.0, 2.0, 3.0]}),
    ],
)
def test_refusals_say_the_argument_and_its_range(error, words, change):
    given = {"x": np.ones(3, np.float32), "rate": 0.5, "seed": 1, **change}
    with pytest.raises(error, match=words):
        wd.dropout(given.pop("x"), given.pop("rate"), **given)


def test_read_only_arrays_and_other_devices_are_refused():
    x = noise(3)
    x.flags.writeable = False
    assert wd.dropout(x, 0.5, **KEY).shape == (3,)
    for out in (x, np.frombuffer(bytes(12), np.float32)):
        with pytest.raises(ValueError, match="out is read-only"):
            wd.dropout(x, 0.5, out=out, **KEY)
    on_gpu = type("Array", (), {"device": "cuda:0"})()
    with pytest.raises(TypeError, match="x is on cuda:0"):
        wd.dropout(on_gpu, 0.5, **KEY)


def test_threads_change_no_bit():
    x, before = noise(3, 300_000), wd.num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            wd.set_num_threads(count)
            assert wd.num_threads() == count
            results.append(wd.dropout(x, 0.3, **KEY))
        assert all(np.array_equal(result, results[0]) for result in results)
    finally:
        wd.set_num_threads(before)
    for count in (0, 5000):
        with pytest.raises(ValueError, match="must be 1 to 4096"):
            wd.set_num_threads(count)


def test_many_python_threads_get_what_one_gets():
    x = noise(40, 10_000)
    right, found = wd.dropout(x, 0.3, **KEY), []

    def work() -> None:
        found.append(np.array_equal(wd.dropout(x, 0.3, **KEY), right))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    x = noise(4, 200_000)
    right = wd.dropout(x, 0.3, **KEY)
    child = os.fork()
    if child == 0:
        signal.alarm(1)
        os._exit(0 if np.array_equal(wd.dropout(x, 0.3, **KEY), right) else 3)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert np.array_equal(wd.dropout(x, 0.3, **KEY), right)
