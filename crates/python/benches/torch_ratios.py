"""Times the dropout of PyTorch and this package in turns, and prints the ratios.

    MALLOC_MMAP_MAX_=0 python benches/torch_ratios.py   # an allocator that keeps its memory
    python benches/torch_ratios.py                      # glibc's, which maps large results anew

Each figure is the median over the turns of PyTorch's time divided by this package's, on as many
threads; the range is that of the middle half.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

import wgpu_dropout as wd
from wgpu_dropout import torch as wt

ROWS, COLS = 4096, 4096


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratio(name: str, theirs: Callable[[], object], ours: Callable[[], object], turns: int) -> None:
    theirs(), ours()
    pairs = []
    for turn in range(turns):
        # Each is first in every other turn.
        both = (theirs, ours) if turn % 2 == 0 else (ours, theirs)
        times = [seconds(run) for run in both]
        pairs.append(times if turn % 2 == 0 else times[::-1])
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    a, b = (1e3 * statistics.median(times) for times in zip(*pairs))
    print(
        f"{name:44} {a:8.1f} ms {b:8.1f} ms   {middle:5.2f} ({low:.2f} to {high:.2f})", flush=True
    )


def network(dropout: Callable[[], nn.Module]) -> Callable[[], None]:
    torch.manual_seed(0)
    sizes = [784, 1024, 1024]
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), dropout()]
    net = nn.Sequential(*layers, nn.Linear(1024, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    if any(isinstance(layer, wt.Dropout) for layer in net):
        wt.attach(net, 42, optimizer)
    x, labels = torch.randn(128, 784), torch.randint(10, (128,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    wd.set_num_threads(args.threads)
    print(
        f"torch {torch.__version__}, {ROWS}×{COLS} f32, {args.threads} threads, {args.turns} turns"
    )
    print(f"{'':44} {'PyTorch':>11} {'here':>11}   ratio")
    x = torch.randn(ROWS, COLS)
    leaf = x.clone().requires_grad_()
    dy, out, there = torch.randn_like(x), torch.empty_like(x), x.clone()
    where = {"seed": 42}

    def backward(dropped: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            leaf.grad = None
            dropped(leaf).backward(dy)

        return run

    rows = [
        ("F.dropout", lambda: F.dropout(x, 0.5), lambda: wt.dropout(x, 0.5, **where)),
        (
            "F.dropout, forward and backward",
            backward(lambda x: F.dropout(x, 0.5)),
            backward(lambda x: wt.dropout(x, 0.5, **where)),
        ),
        (
            "F.dropout(inplace=True), out=",
            lambda: F.dropout(there, 1e-9, inplace=True),
            lambda: wd.dropout(x.numpy(), 0.5, out=out.numpy(), **where),
        ),
        (
            "y.copy_(x), out=",
            lambda: there.copy_(x),
            lambda: wd.dropout(x.numpy(), 0.5, out=out.numpy(), **where),
        ),
        ("training step 784-1024-1024-10", network(nn.Dropout), network(wt.Dropout)),
        ("the same without dropout", network(nn.Identity), network(wt.Dropout)),
    ]
    for name, theirs, ours in rows:
        ratio(name, theirs, ours, args.turns)


if __name__ == "__main__":
    main()
