"""Dropout for PyTorch whose mask is a specification.

The modules take the places of those of ``torch.nn``. A mask is a function of the seed, the layer's
number, the update's number and the place of an element in the batch, so that it is the same on any
device and any number of workers, and when an activation is computed again::

    from wgpu_dropout import torch as wd

    left = wd.replace(model)          # every nn.Dropout becomes a wd.Dropout
    wd.attach(model, seed=42, optimizer=optimizer)

``step`` is the number of the update. It does not advance in ``forward``: a forward pass that is
repeated, as activation checkpointing does, draws the same mask. The optimizer's ``step`` advances
it, or :func:`advance` does.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from typing import Any

import torch
from torch import nn

from ._arrays import whole
from ._forms import rows_of_a_sample
from ._op import applied

__all__ = [
    "AlphaDropout",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "advance",
    "alpha_dropout",
    "attach",
    "drop_path",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "replace",
    "set_sample",
]


def _number(value: int | torch.Tensor, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    return torch.tensor(whole(name, value), dtype=torch.int64)


def _apply(
    x: torch.Tensor,
    form: str,
    p: float,
    training: bool,
    inplace: bool,
    seed: int,
    layer: int,
    step: int | torch.Tensor,
    row: int | torch.Tensor,
    col: int = 0,
) -> torch.Tensor:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0:
        return x
    if not x.is_floating_point():
        raise TypeError(f"x is {x.dtype}: must be a tensor of floating-point numbers")
    seed, layer, col = whole("seed", seed), whole("layer", layer), whole("col", col)
    signed = seed - 2**64 if seed >= 2**63 else seed
    y = applied(x, form, p, signed, layer, _number(step, "step"), _number(row, "row"), col)
    return x.copy_(y) if inplace else y


def dropout(
    x: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    layer: int = 0,
    step: int | torch.Tensor = 0,
    row: int | torch.Tensor = 0,
    col: int = 0,
) -> torch.Tensor:
    """Drops each element with the probability ``p`` and multiplies the others by ``1/(1 - p)``.

    Args:
        x: Tensor of any floating-point type on any device. Its last axis has the mask's columns,
            all axes before it have its rows. float16 and bfloat16 are computed in float32 and
            rounded to the nearest, ties to even.
        seed: 0 to 2**64 - 1.
        layer: Number of the dropout site.
        step: Number of the update. Under ``torch.compile``, a tensor of int64 without axes, since
            each int would be compiled anew.
        row: Row of the whole tensor in which ``x`` starts, if ``x`` is a part of it.
        col: Column of the whole tensor in which ``x`` starts.
    """
    return _apply(x, "elements", p, training, inplace, seed, layer, step, row, col)


def _of_channels(
    x: torch.Tensor, axes: int, p: float, training: bool, inplace: bool, **where: Any
) -> torch.Tensor:
    if x.dim() not in (axes + 1, axes + 2):
        raise RuntimeError(f"expected {axes + 1} or {axes + 2} axes, but got {x.dim()}")
    if x.dim() == axes + 1:
        batch = _apply(x.unsqueeze(0), "channels", p, training, inplace, **where)
        return batch.squeeze(0)
    return _apply(x, "channels", p, training, inplace, **where)


def _channels(axes: int) -> Any:
    def of_channels(
        x: torch.Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        seed: int,
        layer: int = 0,
        step: int | torch.Tensor = 0,
        row: int | torch.Tensor = 0,
        col: int = 0,
    ) -> torch.Tensor:
        where = {"seed": seed, "layer": layer, "step": step, "row": row, "col": col}
        return _of_channels(x, axes, p, training, inplace, **where)

    of_channels.__name__ = of_channels.__qualname__ = f"dropout{axes}d"
    of_channels.__doc__ = (
        f"Drops whole channels of a tensor of {axes} axes, ``[N, C, …]`` or ``[C, …]``.\n\n"
        "The mask's row is the sample, its column the channel. The other arguments are those of\n"
        ":func:`dropout`."
    )
    return of_channels


dropout1d, dropout2d, dropout3d = _channels(1), _channels(2), _channels(3)


def alpha_dropout(
    x: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    layer: int = 0,
    step: int | torch.Tensor = 0,
    row: int | torch.Tensor = 0,
    col: int = 0,
) -> torch.Tensor:
    """Drops elements to SELU's negative saturation, which keeps mean and variance.

    Source: Klambauer et al., "Self-normalizing neural networks" (2017). The other arguments are
    those of :func:`dropout`.
    """
    return _apply(x, "alpha", p, training, inplace, seed, layer, step, row, col)


def drop_path(
    x: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    layer: int = 0,
    step: int | torch.Tensor = 0,
    row: int | torch.Tensor = 0,
    col: int = 0,
) -> torch.Tensor:
    """Drops whole samples: stochastic depth of a residual branch.

    Source: Huang et al., "Deep networks with stochastic depth" (2016). The mask's row is the
    sample. The other arguments are those of :func:`dropout`.
    """
    if x.dim() == 0:
        raise RuntimeError("expected a tensor with an axis of samples")
    return _apply(x, "samples", p, training, inplace, seed, layer, step, row, col)


class _Site(nn.Module):
    """Module that draws a mask.

    The number of the update is a buffer of each site, ``step``, so that ``state_dict`` has it. A
    ``state_dict`` without it, as that of a model of ``torch.nn``, loads too.
    """

    _form = "elements"
    step: torch.Tensor

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        seed: int | None = None,
        layer: int = 0,
    ) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace, self.layer = p, inplace, whole("layer", layer)
        self.seed = None if seed is None else whole("seed", seed)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # No buffer: DistributedDataParallel would give every worker that of the first.
        self.sample = torch.zeros((), dtype=torch.int64)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        state_dict.setdefault(f"{prefix}step", self.step)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the dropout of ``x`` in training, else ``x``."""
        if not self.training or self.p == 0.0:
            return x
        if self.seed is None:
            name = type(self).__name__
            raise RuntimeError(
                f"{name} has no seed: call attach(model, seed), or {name}(p, seed=S)"
            )
        row = self.sample * rows_of_a_sample(self._form, x.shape)
        return self._dropped(x, seed=self.seed, layer=self.layer, step=self.step, row=row)

    def _dropped(self, x: torch.Tensor, **where: Any) -> torch.Tensor:
        return _apply(x, self._form, self.p, True, self.inplace, **where)

    def extra_repr(self) -> str:
        """Returns the arguments."""
        return f"p={self.p}, inplace={self.inplace}, layer={self.layer}"


class Dropout(_Site):
    """Takes the place of ``torch.nn.Dropout``; see :func:`dropout`."""


class AlphaDropout(_Site):
    """Takes the place of ``torch.nn.AlphaDropout``; see :func:`alpha_dropout`."""

    _form = "alpha"


class DropPath(_Site):
    """Drops the samples of a residual branch; see :func:`drop_path`."""

    _form = "samples"


class _ChannelSite(_Site):
    _form = "channels"
    _axes = 2

    def _dropped(self, x: torch.Tensor, **where: Any) -> torch.Tensor:
        return _of_channels(x, self._axes, self.p, True, self.inplace, **where)


class Dropout1d(_ChannelSite):
    """Takes the place of ``torch.nn.Dropout1d``; see :func:`dropout1d`."""

    _axes = 1


class Dropout2d(_ChannelSite):
    """Takes the place of ``torch.nn.Dropout2d``; see :func:`dropout2d`."""


class Dropout3d(_ChannelSite):
    """Takes the place of ``torch.nn.Dropout3d``; see :func:`dropout3d`."""

    _axes = 3


def _sites(model: nn.Module) -> list[_Site]:
    found = [module for module in model.modules() if isinstance(module, _Site)]
    if not found:
        raise ValueError(
            "the model has no dropout of wgpu_dropout.torch: call replace(model) first"
        )
    return found


def attach(
    model: nn.Module,
    seed: int,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    first_layer: int = 0,
) -> dict[str, int]:
    """Gives every dropout site of a model the seed and a number of its own.

    The sites are numbered in the order of ``model.named_modules()``.

    Args:
        optimizer: If given, each of its steps advances the masks.
        first_layer: Number of the first site, for a model that is a part of another.

    Returns:
        The number of each site by its name.
    """
    sites = _sites(model)
    names = {id(module): name for name, module in model.named_modules()}
    for layer, site in enumerate(sites, first_layer):
        site.seed, site.layer = whole("seed", seed), whole("layer", layer)
    if optimizer is not None:
        optimizer.register_step_post_hook(lambda *_: advance(model))
    model.register_forward_pre_hook(_SecondForward(sites[0]))
    return {names[id(site)]: site.layer for site in sites}


class _SecondForward:
    """Warning if a second forward pass in training draws the masks of the first."""

    def __init__(self, site: _Site) -> None:
        self.site = site
        self.seen: tuple[int, int] | None = None
        self.warned = False

    def __call__(self, module: nn.Module, _: Any) -> None:
        if self.warned or not module.training or torch.compiler.is_compiling():
            return
        # A backward pass is under way: an activation is computed again.
        if torch._C._current_graph_task_id() != -1:
            return
        now = (int(self.site.step), int(self.site.sample))
        if now == self.seen:
            self.warned = True
            warnings.warn(
                "two forward passes in training draw the same dropout masks: call "
                "wgpu_dropout.torch.advance(model) after each update, or give attach the "
                "optimizer; the parts of one batch differ by set_sample(model, first)",
                stacklevel=2,
            )
        self.seen = now


def advance(model: nn.Module, updates: int = 1) -> None:
    """Goes on to the masks of the next update, in place of the optimizer's hook."""
    for site in _sites(model):
        # Another tensor: a backward pass that is still to come keeps the step of its forward pass.
        site.step = site.step + updates


def set_sample(model: nn.Module, first: int) -> None:
    """Says at which sample of the whole batch the next input starts.

    The parts of a batch, whether they are computed one after the other or by several workers, then
    draw the masks of the whole: ``set_sample(model, rank * samples_of_a_worker)``.
    """
    sample = torch.tensor(whole("row", first), dtype=torch.int64)
    for site in _sites(model):
        site.sample = sample


_REPLACED: dict[type[nn.Module], type[_Site]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: Dropout1d,
    nn.Dropout2d: Dropout2d,
    nn.Dropout3d: Dropout3d,
    nn.AlphaDropout: AlphaDropout,
}
_CALLS = (
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "scaled_dot_product_attention",
    "stochastic_depth",
)


def _calls(module: nn.Module) -> list[str]:
    """Returns the functions of dropout that a module's ``forward`` calls by name."""
    if isinstance(module, _Site) or type(module).__module__.startswith("torch.nn."):
        return []
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError):
        return []
    called = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"))):
                pass  # A submodule, which is looked at itself.
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                called.add(name)
    return sorted(called.intersection(_CALLS))


def replace(model: nn.Module) -> dict[str, str]:
    """Replaces every dropout module of a model.

    Returns:
        What it could not replace, by name: calls of ``F.dropout``, and the dropout inside of
        ``nn.MultiheadAttention`` and ``nn.LSTM``, which draw from PyTorch's generator as before.
    """
    left = {}
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            made = _REPLACED.get(type(child))
            if made is not None:
                new = made(child.p, child.inplace)
                setattr(module, child_name, new.train(child.training))
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0:
            left[name] = f"the dropout inside of {type(module).__name__}"
        elif isinstance(module, nn.FeatureAlphaDropout) or (
            isinstance(module, nn.modules.dropout._DropoutNd) and type(module) not in _REPLACED
        ):
            left[name] = type(module).__name__
        elif calls := _calls(module):
            left[name] = ", ".join(f"a call of {call}" for call in calls)
    return left
