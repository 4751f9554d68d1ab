"""Code shared by all Python peers: the workloads, their data, and the loop that answers the runner.

`protocol.rs` is its Rust counterpart.
"""

import json
import sys
import time

import numpy as np

DROP = (4096, 4096)  # rows, columns
LAYER = (1024, 2048, 2048)  # batch, inputs, outputs
STEP = (128, (784, 1024, 1024, 10))  # batch, units of each layer
KEEP, KEEP_INPUT = 0.5, 0.8
LEARNING_RATE = 0.1

rng = np.random.default_rng(0)


def uniform(*shape, bound=1.0):
    """Returns numbers in -bound..bound."""
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def parameters():
    """Returns the weights [in, out], by He's uniform rule, and biases of the network in STEP."""
    widths = STEP[1]
    return [(uniform(i, o, bound=(6 / i) ** 0.5), np.zeros(o, np.float32)) for i, o in zip(widths, widths[1:])]


def batch():
    """Returns a mini-batch for the network in STEP: pixels in 0..1, and labels."""
    rows, widths = STEP
    return abs(uniform(rows, widths[0])), rng.integers(widths[-1], size=rows)


def share_of_zeros(result):
    return float(np.mean(np.asarray(result) == 0))


def serve(version, works, wait=lambda results: None):
    """Answers each line `WORK SECONDS` with one JSON line.

    `works` maps each workload to a function that sets it up and returns the call to be timed. The
    call returns its result; for `step`, that is the loss. `wait(results)` waits for calls that
    were only started.
    """
    ready = {}
    for line in sys.stdin:
        work, seconds = line.split()
        answer = {"version": version, "work": work, "ms": []}
        try:
            if work in works:
                call = ready.get(work) or ready.setdefault(work, works[work]())
                answer["ms"], result = timed(call, wait, float(seconds))
                answer["check"] = float(np.asarray(result)) if work == "step" else share_of_zeros(result)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(json.dumps(answer), flush=True)


def timed(call, wait, seconds):
    """Returns the milliseconds of a call, from samples over `seconds`, and the last result.

    There are at least 3 samples. A sample lasts at least 10 ms or 16 calls, whichever is shorter.
    """

    def sample(calls):
        start = time.perf_counter()
        results = [call() for _ in range(calls)]
        wait(results)
        return (time.perf_counter() - start) * 1000 / calls, results[-1]

    sample(1)
    warm, _ = sample(1)
    calls = int(min(16, max(1, 10 // warm)))
    end = time.perf_counter() + seconds
    ms = []
    while len(ms) < 3 or time.perf_counter() < end:
        took, result = sample(calls)
        ms.append(round(took, 4))
    return ms, result
