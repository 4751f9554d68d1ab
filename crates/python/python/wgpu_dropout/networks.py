"""Networks of ``wgpu-dropout train`` in PyTorch, and back.

A saved network is a file of safetensors. In PyTorch it draws the masks that ``train`` draws: the same
seed, the numbers of its sites, and the number of the update at which it was saved.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

from .torch import Dropout

__all__ = ["load", "save"]

FORMAT = "wgpu-dropout 1"
_NORM = ("weight", "bias", "running_mean", "running_var")


def _path(path: str | os.PathLike[str]) -> str:
    return os.fspath(path)


def load(path: str | os.PathLike[str]) -> nn.Sequential:
    """Reads a network that ``wgpu-dropout train --save`` has written.

    The modules are dropout of the input, and for each hidden layer ``Linear``, ``ReLU`` and dropout,
    with batch normalization where the network has it; then the last ``Linear``. The metadata of the
    file is the attribute ``metadata``. Momentum is not read.

    Raises:
        ValueError: For a file that is no network of ``train``, and for vanilla dropout.
    """
    with safe_open(_path(path), framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: not saved by wgpu-dropout: its format is {metadata.get('format')!r}"
        )
    if metadata["mode"] != "inverted":
        what = "only inverted dropout has modules"
        raise ValueError(f"{path}: the mode of its dropout is {metadata['mode']!r}: {what}")
    count = sum(name.startswith("layers.") and name.endswith(".weight") for name in tensors)
    place, seed = metadata.get("batch_norm"), int(metadata["seed"])

    def site(rate: str, layer: int) -> Dropout:
        made = Dropout(float(rate), seed=seed, layer=layer)
        made.step.fill_(int(metadata["step"]))
        return made

    modules: list[nn.Module] = [site(metadata["input_drop"], 0)]
    for index in range(count):
        weight, bias = (tensors[f"layers.{index}.{name}"] for name in ("weight", "bias"))
        linear = nn.Linear(*weight.shape)
        # `train` has weights [in, out].
        _fill(linear.weight, weight.T)
        _fill(linear.bias, bias)
        modules.append(linear)
        if index + 1 == count:
            break
        rest: list[nn.Module] = [nn.ReLU(), site(metadata["drop"], index + 1)]
        if place is not None:
            norm = nn.BatchNorm1d(weight.shape[1])
            for name in _NORM:
                _fill(getattr(norm, name), tensors[f"norms.{index}.{name}"])
            rest.insert(0 if place == "before" else len(rest), norm)
        modules += rest
    net = nn.Sequential(*modules)
    net.__dict__["metadata"] = dict(metadata)
    return net


def _fill(parameter: torch.Tensor, values: np.ndarray[Any, Any]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def save(model: nn.Sequential, path: str | os.PathLike[str], **metadata: Any) -> None:
    """Writes a network that ``wgpu-dropout predict`` and ``train --resume`` read.

    Args:
        model: Modules as :func:`load` returns them. The dropout of the input may be missing, as may
            all dropout.
        metadata: Entries of the file's metadata, in the place of those that the model has, for
            example ``unit="1/255"`` or ``epoch=20``.

    Raises:
        ValueError: For any other model.
    """
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    linears = [module for module in model if isinstance(module, nn.Linear)]
    for index, linear in enumerate(linears):
        if linear.bias is None:
            raise ValueError("a layer has no bias: saved networks have one in each layer")
        tensors[f"layers.{index}.weight"] = _values(linear.weight.T)
        tensors[f"layers.{index}.bias"] = _values(linear.bias)
    entries = {"format": FORMAT, "mode": "inverted", "epoch": "0"}
    entries.update(getattr(model, "metadata", {}))
    entries.update(_described(list(model), tensors))
    entries.update({name: str(value) for name, value in metadata.items()})
    save_file(tensors, _path(path), entries)


def _values(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float32).numpy())


def _described(modules: list[nn.Module], tensors: dict[str, Any]) -> dict[str, str]:
    """Returns rates, seed, step and place of the normalization, whose tensors it adds."""
    entries = {"drop": "0", "input_drop": "0", "seed": "0", "step": "0"}
    first = modules[0] if modules else None
    if isinstance(first, Dropout | nn.Dropout):
        entries.update(_site(first, "input_drop"))
        modules = modules[1:]
    index, since = -1, ["Linear"]
    shapes = set()
    for module in modules:
        kind = {nn.Linear: "Linear", nn.ReLU: "ReLU", nn.BatchNorm1d: "norm"}.get(type(module))
        if isinstance(module, Dropout | nn.Dropout):
            kind = "dropout"
            entries.update(_site(module, "drop"))
        if kind is None:
            raise ValueError(f"{type(module).__name__} is no module of a saved network")
        if kind == "Linear":
            if index >= 0:
                shapes.add(tuple(since))
            index, since = index + 1, []
        elif kind == "norm":
            for name in _NORM:
                tensors[f"norms.{index}.{name}"] = _values(getattr(module, name))
        since.append(kind)
    known: dict[tuple[str, ...], str | None] = {
        ("Linear", "ReLU"): None,
        ("Linear", "ReLU", "dropout"): None,
        ("Linear", "norm", "ReLU"): "before",
        ("Linear", "norm", "ReLU", "dropout"): "before",
        ("Linear", "ReLU", "norm"): "after",
        ("Linear", "ReLU", "dropout", "norm"): "after",
    }
    if since != ["Linear"] or len(shapes) > 1 or not shapes.issubset(known):
        raise ValueError(
            "the model is no chain of Linear, ReLU and dropout that ends in Linear, "
            "alike in every hidden layer"
        )
    place = known[shapes.pop()] if shapes else None
    return entries if place is None else {**entries, "batch_norm": place}


def _site(module: Dropout | nn.Dropout, name: str) -> dict[str, str]:
    entries = {name: repr(module.p)}
    if isinstance(module, Dropout):
        entries.update(seed=str(module.seed or 0), step=str(int(module.step)))
    return entries
