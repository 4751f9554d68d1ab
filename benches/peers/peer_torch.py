"""PyTorch: `peer_torch.py eager|compile`, with `F.dropout`, `addmm`, and the fused SGD."""

import sys

import protocol
import torch
import torch.nn.functional as F
from protocol import DROP, KEEP, KEEP_INPUT, LAYER, LEARNING_RATE

form = torch.compile if sys.argv[1] == "compile" else lambda function: function
tensor = torch.from_numpy


def drop():
    x = tensor(protocol.uniform(*DROP))
    call = form(lambda x: F.dropout(x, 1 - KEEP, training=True))
    return torch.no_grad()(lambda: call(x))


def drop_grad():
    x, dy = tensor(protocol.uniform(*DROP)).requires_grad_(), tensor(protocol.uniform(*DROP))
    forward = form(lambda x: F.dropout(x, 1 - KEEP, training=True))
    return lambda: torch.autograd.grad(forward(x), x, dy)[0]


def layer():
    rows, inputs, outputs = LAYER
    x, w, b = (tensor(protocol.uniform(*shape)) for shape in [(rows, inputs), (inputs, outputs), (outputs,)])
    call = form(lambda x, w, b: F.dropout(torch.addmm(b, x, w).relu(), 1 - KEEP, training=True))
    return torch.no_grad()(lambda: call(x, w, b))


def matmul():
    rows, inputs, outputs = LAYER
    x, w = tensor(protocol.uniform(rows, inputs)), tensor(protocol.uniform(inputs, outputs))
    return lambda: x @ w


def step():
    layers = [(tensor(w).requires_grad_(), tensor(b).requires_grad_()) for w, b in protocol.parameters()]
    x, labels = map(tensor, protocol.batch())
    optimizer = torch.optim.SGD([p for pair in layers for p in pair], lr=LEARNING_RATE, fused=True)

    @form
    def loss_of(x, labels):
        x = F.dropout(x, 1 - KEEP_INPUT, training=True)
        for w, b in layers[:-1]:
            x = F.dropout(torch.addmm(b, x, w).relu(), 1 - KEEP, training=True)
        w, b = layers[-1]
        return F.cross_entropy(torch.addmm(b, x, w), labels)

    def call():
        optimizer.zero_grad()
        loss = loss_of(x, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return call


protocol.serve(torch.__version__, {"drop": drop, "drop+grad": drop_grad, "layer": layer, "matmul": matmul, "step": step})
