"""The contract as a kernel of Triton, for tensors on CUDA.

``tl.philox`` is the contract's generator: counter ``(col/8, row, layer, step)``, key ``seed``.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024


@triton.jit
def _dropout(
    x_ptr,
    y_ptr,
    step_ptr,
    row_ptr,
    elements,
    per_row,
    per_col,
    cols,
    seed,
    layer,
    first_col,
    threshold,
    scale,
    shift,
    dropped,
    BLOCK: tl.constexpr,
):
    """``y = x·scale + shift`` for kept elements, ``dropped`` for the others.

    Threads: one an element. Element ``i`` has the row ``i / per_row`` and the column
    ``i / per_col mod cols`` of the mask, from its first row and column on.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < elements
    row = (i // per_row + tl.load(row_ptr)).to(tl.uint32)
    col = i // per_col % cols + first_col
    group, lane = (col // 8).to(tl.uint32), col % 8
    layers = tl.full(group.shape, layer, tl.uint32)
    steps = tl.zeros(group.shape, tl.uint32) + tl.load(step_ptr).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(seed, group, row, layers, steps)
    word = tl.where(lane < 4, tl.where(lane < 2, w0, w1), tl.where(lane < 6, w2, w3))
    draw = (word.to(tl.uint32) >> (16 * (lane % 2)).to(tl.uint32)) & 0xFFFF
    x = tl.load(x_ptr + i, mask=inside).to(tl.float32)
    y = tl.where(draw.to(tl.int32) < threshold, x * scale + shift, dropped)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=inside)


def dropout(
    x: torch.Tensor,
    place: tuple[int, int, int],
    seed: int,
    layer: int,
    step: torch.Tensor,
    row: torch.Tensor,
    col: int,
    threshold: int,
    affine: tuple[float, float, float],
) -> torch.Tensor:
    """Returns the dropout of a contiguous tensor; ``step`` and ``row`` lie on its device."""
    y = torch.empty_like(x)
    if x.numel() > 0:
        grid = (triton.cdiv(x.numel(), BLOCK),)
        numbers = (x.numel(), *place, seed, layer, col, threshold, *affine)
        _dropout[grid](x, y, step, row, *numbers, BLOCK=BLOCK)
    return y
