"""JAX: `peer_jax.py rbg|threefry2x32` (the generator), all under `jit`."""

import sys

import jax
import jax.numpy as jnp
import protocol
from protocol import DROP, KEEP, KEEP_INPUT, LAYER, LEARNING_RATE

jax.config.update("jax_default_prng_impl", sys.argv[1])
KEY = jax.random.key(0)
number = iter(range(1 << 31))


def dropout(key, x, keep=KEEP):
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0)


def keyed(function, *operands):
    """Returns a call of a function of (key, operands) under `jit`, with a new key each time."""
    compiled = jax.jit(lambda number, *operands: function(jax.random.fold_in(KEY, number), *operands))
    return lambda: compiled(next(number), *operands)


def array(*shape):
    return jnp.asarray(protocol.uniform(*shape))


def drop():
    return keyed(dropout, array(*DROP))


def drop_grad():
    def both(key, x, dy):
        y, backward = jax.vjp(lambda x: dropout(key, x), x)
        return y, backward(dy)[0]

    call = keyed(both, array(*DROP), array(*DROP))
    return lambda: call()[1]


def layer():
    rows, inputs, outputs = LAYER
    forward = lambda key, x, w, b: dropout(key, jax.nn.relu(x @ w + b))
    return keyed(forward, array(rows, inputs), array(inputs, outputs), array(outputs))


def matmul():
    rows, inputs, outputs = LAYER
    x, w, call = array(rows, inputs), array(inputs, outputs), jax.jit(jnp.matmul)
    return lambda: call(x, w)


def step():
    layers = jax.tree.map(jnp.asarray, protocol.parameters())
    x, labels = map(jnp.asarray, protocol.batch())

    def loss_of(layers, key, x, labels):
        sites = jax.random.split(key, len(layers))
        x = dropout(sites[0], x, KEEP_INPUT)
        for (w, b), site in zip(layers[:-1], sites[1:]):
            x = dropout(site, jax.nn.relu(x @ w + b))
        w, b = layers[-1]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), labels[:, None], axis=1))

    def update(number, layers, x, labels):
        loss, grads = jax.value_and_grad(loss_of)(layers, jax.random.fold_in(KEY, number), x, labels)
        return loss, jax.tree.map(lambda p, g: p - LEARNING_RATE * g, layers, grads)

    compiled = jax.jit(update, donate_argnums=1)

    def call():
        nonlocal layers
        loss, layers = compiled(next(number), layers, x, labels)
        return loss

    return call


works = {"drop": drop, "drop+grad": drop_grad, "layer": layer, "matmul": matmul, "step": step}
protocol.serve(jax.__version__, works, wait=jax.block_until_ready)
