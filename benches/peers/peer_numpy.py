"""NumPy: `peer_numpy.py note|fast THREADS`, both inverted dropout as in the CS231n course note.

`note` draws like the note, in f64 by the Mersenne Twister on one thread:

    U = (np.random.rand(*H.shape) < p) / p

`fast` draws in f32 by SFC64, with one generator per thread, as NumPy's manual advises under
"Multithreaded generation", in blocks that stay in the cache.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import protocol
from numpy.random import SFC64, Generator, SeedSequence
from protocol import DROP, KEEP, KEEP_INPUT, LAYER, LEARNING_RATE

THREADS = int(sys.argv[2])
BLOCK = 1 << 15
pool = ThreadPoolExecutor(THREADS)
generators = [Generator(SFC64(seed)) for seed in SeedSequence(0).spawn(THREADS)]


def apply_note(keep, mask, *pairs):
    mask[...] = (np.random.rand(*mask.shape) < keep) / keep
    for x, y in pairs:
        np.multiply(x, mask, out=y)


def apply_fast(keep, mask, *pairs):
    mask, pairs, scale = mask.reshape(-1), [(x.reshape(-1), y.reshape(-1)) for x, y in pairs], np.float32(1 / keep)
    blocks = range(0, mask.size, BLOCK)

    def fill(thread):
        for start in blocks[thread::THREADS]:
            at = slice(start, start + BLOCK)
            generators[thread].random(dtype=np.float32, out=mask[at])
            np.multiply(mask[at] < keep, scale, out=mask[at])
            for x, y in pairs:
                np.multiply(x[at], mask[at], out=y[at])

    list(pool.map(fill, range(THREADS)))


# Overwrites `mask` with 0 and 1 / keep, and computes y = x · mask for each pair (x, y).
apply = {"note": apply_note, "fast": apply_fast}[sys.argv[1]]


def drop():
    x = protocol.uniform(*DROP)
    y, mask = np.empty_like(x), np.empty_like(x)

    def call():
        apply(KEEP, mask, (x, y))
        return y

    return call


def drop_grad():
    x, dy = protocol.uniform(*DROP), protocol.uniform(*DROP)
    mask, y, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)

    def call():
        apply(KEEP, mask, (x, y), (dy, dx))
        return dx

    return call


def layer():
    rows, inputs, outputs = LAYER
    x, w, b = protocol.uniform(rows, inputs), protocol.uniform(inputs, outputs), protocol.uniform(outputs)
    return lambda: forward(x, w, b)[0]


def forward(x, w, b):
    y = x @ w
    y += b
    np.maximum(y, 0, out=y)
    mask = np.empty_like(y)
    apply(KEEP, mask, (y, y))
    return y, mask


def matmul():
    rows, inputs, outputs = LAYER
    x, w = protocol.uniform(rows, inputs), protocol.uniform(inputs, outputs)
    return lambda: x @ w


def step():
    (w1, b1), (w2, b2), (w3, b3) = protocol.parameters()
    pixels, labels = protocol.batch()
    rows = np.arange(len(labels))

    def call():
        x = np.empty_like(pixels)
        apply(KEEP_INPUT, np.empty_like(pixels), (pixels, x))
        h1, mask1 = forward(x, w1, b1)
        h2, mask2 = forward(h1, w2, b2)
        scores = h2 @ w3 + b3
        scores -= scores.max(axis=1, keepdims=True)
        p = np.exp(scores)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[rows, labels]).mean()
        p[rows, labels] -= 1
        d3 = p / len(labels)
        d2 = d3 @ w3.T
        d2 *= mask2
        d2 *= h2 > 0
        d1 = d2 @ w2.T
        d1 *= mask1
        d1 *= h1 > 0
        for w, b, input, d in [(w1, b1, x, d1), (w2, b2, h1, d2), (w3, b3, h2, d3)]:
            w -= LEARNING_RATE * (input.T @ d)
            b -= LEARNING_RATE * d.sum(axis=0)
        return loss

    return call


protocol.serve(np.__version__, {"drop": drop, "drop+grad": drop_grad, "layer": layer, "matmul": matmul, "step": step})
