"""Dropout whose mask is a specification, for NumPy.

A mask is a pure function of ``(seed, layer, step, row, col, rate)``: the same bits on every
processor and GPU, whatever the number of threads or workers, and however a batch is split. Nothing
is stored for the backward pass, which draws the mask again.

``wgpu_dropout.torch`` and ``wgpu_dropout.jax`` are the same for PyTorch and JAX.

The last axis of an array has the mask's columns. All axes before it together have its rows.
"""

from __future__ import annotations

from ._arrays import (
    alpha_dropout,
    attention_mask,
    dropout,
    gaussian_dropout,
    linear,
    linear_grad,
    mask,
    mask_bits,
)
from ._native import num_threads, rate_in_effect, set_num_threads

__all__ = [
    "alpha_dropout",
    "attention_mask",
    "dropout",
    "gaussian_dropout",
    "linear",
    "linear_grad",
    "mask",
    "mask_bits",
    "num_threads",
    "rate_in_effect",
    "set_num_threads",
]
__version__ = "0.1.0"
