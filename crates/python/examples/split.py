"""Trains one model in five ways, and prints the hash of the masks of each and its final loss.

    python examples/split.py

Whole, in micro-batches, by two workers, with activation checkpointing, stopped and resumed: the
masks are the same, and the losses differ by rounding alone. A wrong place in the batch is the
control.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from wgpu_dropout import torch as wd

BATCH, STEPS, SEED = 32, 6, 42


class Masks:
    """Hash of the masks of a model's sites, by step, site and sample, whatever the order."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int, int], bytes] = {}

    def watch(self, model: nn.Module) -> None:
        for site in model.modules():
            if isinstance(site, wd.Dropout):
                site.register_forward_hook(self.note)

    def note(self, site: nn.Module, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        # The mask that the site draws, seen through ones.
        ones = torch.ones_like(inputs[0])
        where = {"seed": site.seed, "layer": site.layer, "step": site.step, "row": site.sample}
        kept = wd.dropout(ones, site.p, **where) != 0
        for sample, row in enumerate(kept, int(site.sample)):
            bits = bytes(row.to(torch.uint8).tolist())
            key = (int(site.step), site.layer, sample)
            if self.found.setdefault(key, bits) != bits:
                self.found[key] = b"another mask"

    def sha(self) -> str:
        everything = repr(sorted(self.found.items())).encode()
        return hashlib.sha256(everything).hexdigest()[:16]


def made() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wd.replace(model)
    wd.attach(model, SEED, optimizer)
    return model, optimizer


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(BATCH, 20, generator=generator)
        yield x, torch.randint(4, (BATCH,), generator=generator)


Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], float]


def backward(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
    """Adds the gradients of a part of the batch, whose loss counts as its share."""
    loss = F.cross_entropy(model(x), labels, reduction="sum") / BATCH
    loss.backward()
    return loss.item()


def in_parts(parts: int, at: Callable[[int], int]) -> Loss:
    def run(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
        size, total = BATCH // parts, 0.0
        for first in range(0, BATCH, size):
            wd.set_sample(model, at(first))
            total += backward(model, x[first : first + size], labels[first : first + size])
        wd.set_sample(model, 0)
        return total

    return run


def recomputed(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
    def again(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(model, x, use_reentrant=False, preserve_rng_state=False)

    loss = F.cross_entropy(again(x.requires_grad_()), labels, reduction="sum") / BATCH
    loss.backward()
    return loss.item()


def trained(loss: Loss, stop: int | None = None) -> tuple[str, float]:
    model, optimizer = made()
    masks = Masks()
    masks.watch(model)
    last = 0.0
    for number, (x, labels) in enumerate(batches()):
        if number == stop:
            file = io.BytesIO()
            torch.save([model.state_dict(), optimizer.state_dict()], file)
            file.seek(0)
            model, optimizer = made()
            for part, state in zip((model, optimizer), torch.load(file)):
                part.load_state_dict(state)
            masks.watch(model)
        optimizer.zero_grad()
        last = loss(model, x, labels)
        optimizer.step()
    return masks.sha(), last


def by_workers() -> tuple[str, float]:
    """Two models, each with half of the batch, whose gradients are added."""
    workers, masks, last = [made() for _ in range(2)], Masks(), 0.0
    half = BATCH // 2
    for rank, (model, _) in enumerate(workers):
        masks.watch(model)
        wd.set_sample(model, rank * half)
    for x, labels in batches():
        last = 0.0
        for rank, (model, optimizer) in enumerate(workers):
            optimizer.zero_grad()
            part = slice(rank * half, (rank + 1) * half)
            last += backward(model, x[part], labels[part])
        for mine, others in zip(*(model.parameters() for model, _ in workers)):
            mine.grad += others.grad
            others.grad.copy_(mine.grad)
        for _, optimizer in workers:
            optimizer.step()
    return masks.sha(), last


def table() -> list[tuple[str, str, float]]:
    """Returns each way's name, the hash of its masks, and its last loss."""
    ways = {
        "whole": lambda: trained(backward),
        "4 micro-batches": lambda: trained(in_parts(4, lambda first: first)),
        "2 workers": by_workers,
        "checkpointed": lambda: trained(recomputed),
        "stopped and resumed": lambda: trained(backward, stop=3),
        "control: all parts at 0": lambda: trained(in_parts(4, lambda _: 0)),
    }
    return [(name, *run()) for name, run in ways.items()]


def main() -> None:
    for name, sha, loss in table():
        print(f"{name:26} masks {sha}   loss {loss:.6f}")


if __name__ == "__main__":
    main()
