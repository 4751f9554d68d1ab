"""The operation ``wgpu_dropout::dropout`` of PyTorch, its gradient and its kernels."""

from __future__ import annotations

from typing import Any

import torch

from . import _native
from ._arrays import site
from ._forms import place


def _on_cpu(
    x: torch.Tensor, form: str, rate: float, seed: int, layer: int, step: int, row: int, col: int
) -> torch.Tensor:
    """Returns the dropout of a contiguous tensor of f32 in the memory of the CPU."""
    where = site(rate, seed, layer, step, row, col)
    y = torch.empty_like(x)
    values, out = x.numpy(), y.numpy()
    match form:
        case "elements":
            _native.dropout(values, out, where, None)
        case "channels":
            _native.dropout(values, out, where, _native.Axes(list(x.shape), [0], [1]))
        case "samples":
            _native.dropout(values, out, where, _native.Axes(list(x.shape), [0], []))
        case _:
            _native.alpha_dropout(values, out, where, form == "alpha gradient")
    return y


def _anywhere(
    x: torch.Tensor,
    form: str,
    rate: float,
    seed: int,
    layer: int,
    step: torch.Tensor,
    row: torch.Tensor,
    col: int,
) -> torch.Tensor:
    """Returns the dropout of a contiguous tensor, in operations that every device has."""
    from ._generic import kept

    per_row, _, cols = place(form, tuple(x.shape))
    rows = x.numel() // per_row
    mask = kept(rows, cols, _native.threshold(rate), seed, layer, step, row, col, x.device)
    # f64 is computed in f64, everything else in f32.
    wide = x if x.dtype == torch.float64 else x.to(torch.float32)
    scale, shift, dropped = _native.affine(form, rate)
    if form in ("channels", "samples"):
        mask = mask.view(*mask.shape, 1) if form == "channels" else mask.view(-1, 1, 1)
        wide = wide.reshape(rows, cols, -1)
    else:
        wide = wide.reshape(rows, cols)
    y = torch.where(mask, wide * scale + shift, torch.full_like(wide, dropped))
    return y.to(x.dtype).view(x.shape)


def _computed(
    x: torch.Tensor,
    form: str,
    rate: float,
    seed: int,
    layer: int,
    step: torch.Tensor,
    row: torch.Tensor,
    col: int,
) -> torch.Tensor:
    """Returns the dropout of a tensor, by the kernel of its device."""
    x, seed = x.contiguous(), seed % 2**64
    if x.numel() == 0:
        return torch.empty_like(x)
    if x.device.type == "cpu" and x.dtype != torch.float64:
        values = x.detach().to(torch.float32)
        return _on_cpu(values, form, rate, seed, layer, int(step), int(row), col).to(x.dtype)
    step, row = step.to(x.device), row.to(x.device)
    if x.device.type == "cuda" and x.dtype != torch.float64:
        from . import _triton

        numbers = (seed, layer, step, row, col, _native.threshold(rate))
        return _triton.dropout(x, place(form, tuple(x.shape)), *numbers, _native.affine(form, rate))
    return _anywhere(x, form, rate, seed, layer, step, row, col)


@torch.library.custom_op("wgpu_dropout::dropout", mutates_args=())
def dropout(
    x: torch.Tensor,
    form: str,
    rate: float,
    seed: int,
    layer: int,
    step: torch.Tensor,
    row: torch.Tensor,
    col: int,
) -> torch.Tensor:
    """Returns the dropout of a tensor.

    ``seed`` is the seed as a signed number of 64 bits. ``step`` and ``row`` are tensors of int64
    without axes. ``row`` and ``col`` are those of the tensor's first element in the whole.
    """
    return _computed(x, form, rate, seed, layer, step, row, col)


@dropout.register_fake
def _(x, form, rate, seed, layer, step, row, col):  # type: ignore[no-untyped-def]
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Keeps seven numbers and no mask."""
    _, ctx.form, ctx.rate, ctx.seed, ctx.layer, step, row, ctx.col = inputs
    ctx.save_for_backward(step, row)


def _gradient(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    step, row = ctx.saved_tensors
    form = "alpha gradient" if ctx.form == "alpha" else ctx.form
    grad = applied(grad, form, ctx.rate, ctx.seed, ctx.layer, step, row, ctx.col)
    return grad, None, None, None, None, None, None, None


dropout.register_autograd(_gradient, setup_context=_keep)


class _Eager(torch.autograd.Function):
    """The operation without the dispatcher, whose call takes three times as long as a small mask."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        _keep(ctx, inputs, inputs[0])
        return _computed(*inputs)

    backward = staticmethod(_gradient)


def applied(x: torch.Tensor, *where: Any) -> torch.Tensor:
    """Returns the dropout of a tensor, with the arguments of :func:`dropout`.

    A compiler sees the operation; plain tensors take the short way to the same kernel.
    """
    plain = type(x) is torch.Tensor or type(x) is torch.nn.Parameter
    if torch.compiler.is_compiling() or not plain:
        return dropout(x, *where)
    if x.requires_grad and torch.is_grad_enabled():
        return _Eager.apply(x, *where)
    return _computed(x, *where)
