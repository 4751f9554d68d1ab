"""The contract in plain integer operations of PyTorch, for devices without a kernel of their own.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), on tensors
of int64 that hold 32-bit words.
"""

from __future__ import annotations

import torch

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def _product(factor: int, word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the high and the low word of a product, by halves: int64 would overflow."""
    low = factor * (word & 0xFFFF)
    high = factor * (word >> 16)
    low = low + ((high & 0xFFFF) << 16)
    return (high >> 16) + (low >> 32), low & _WORD


def philox(counter: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Returns four words for each counter of four words."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & _WORD, seed >> 32 & _WORD
    for _ in range(10):
        high0, low0 = _product(_MULTIPLIERS[0], c0)
        high1, low1 = _product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def kept(
    rows: int,
    cols: int,
    threshold: int,
    seed: int,
    layer: int,
    step: torch.Tensor,
    row: torch.Tensor,
    col: int,
    device: torch.device,
) -> torch.Tensor:
    """Returns the mask ``[rows, cols]`` from global ``(row, col)`` on: True for a kept element.

    ``step`` and ``row`` are tensors of int64 on the device, so that nothing waits for them.
    """
    first, last = col // 8, (col + cols + 7) // 8
    groups = torch.arange(first, last, device=device).view(1, -1)
    ids = row + torch.arange(rows, device=device).view(-1, 1)
    shape = torch.broadcast_shapes(groups.shape, ids.shape)
    counter = [groups.expand(shape), ids.expand(shape)]
    counter += [torch.full(shape, layer, dtype=torch.int64, device=device), step.expand(shape)]
    words = philox(counter, seed)
    halves = [half for word in words for half in (word & 0xFFFF, word >> 16)]
    draws = torch.stack(halves, dim=-1).view(rows, -1)
    return draws[:, col - 8 * first :][:, :cols] < threshold
