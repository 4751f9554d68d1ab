"""The kernel for CUDA, in Triton's interpreter."""

from __future__ import annotations

import os

os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest  # noqa: E402
from conftest import lines  # noqa: E402

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

import test_torch  # noqa: E402
from wgpu_dropout import _forms, _native, _op, _triton  # noqa: E402


@pytest.mark.parametrize("line", lines("mask"), ids=lambda line: line.text[:40])
def test_masks_are_those_of_the_contract(line):
    seed, layer, step, row, col, rows, cols = line.whole(*range(7))
    if rows * cols == 0 or rows * cols > 2_000_000:
        pytest.skip("nothing to draw, or too long")
    numbers = (
        seed,
        layer,
        torch.tensor(step),
        torch.tensor(row),
        col,
        _native.threshold(line.drop(7)),
    )
    mask = _triton.dropout(torch.ones(rows, cols), (cols, 1, cols), *numbers, (1.0, 0.0, 0.0))
    assert (int(mask.sum()), test_torch.sha(mask)) == (int(line.words[8]), line.words[9])


# The interpreter truncates to bfloat16; a GPU rounds.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("form", "shape"), test_torch.FORMS)
def test_it_gives_what_the_crate_gives(form, shape, dtype):
    x = test_torch.noise(*shape).to(dtype)
    places = torch.tensor(2**32 - 1), torch.tensor(5)
    here = _op.dropout(x, form, 0.3, -5, 0x8000_0001, *places, 2**35 - 2000)
    numbers = (2**64 - 5, 0x8000_0001, *places, 2**35 - 2000, _native.threshold(0.3))
    there = _triton.dropout(x, _forms.place(form, shape), *numbers, _native.affine(form, 0.3))
    assert torch.equal(here, there)
