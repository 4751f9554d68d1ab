"""TensorFlow: `peer_tensorflow.py THREADS`, under `tf.function`; `tf.nn.dropout` uses Philox."""

import sys

import protocol
import tensorflow as tf
from protocol import DROP, KEEP, KEEP_INPUT, LAYER, LEARNING_RATE

tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))


def tensor(*shape):
    return tf.constant(protocol.uniform(*shape))


def drop():
    x, call = tensor(*DROP), tf.function(lambda x: tf.nn.dropout(x, 1 - KEEP))
    return lambda: call(x)


def drop_grad():
    x, dy = tensor(*DROP), tensor(*DROP)

    @tf.function
    def both(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.dropout(x, 1 - KEEP)
        return y, tape.gradient(y, x, dy)

    return lambda: both(x, dy)[1]


def layer():
    rows, inputs, outputs = LAYER
    x, w, b = tensor(rows, inputs), tensor(inputs, outputs), tensor(outputs)
    call = tf.function(lambda x, w, b: tf.nn.dropout(tf.nn.relu(tf.matmul(x, w) + b), 1 - KEEP))
    return lambda: call(x, w, b)


def matmul():
    rows, inputs, outputs = LAYER
    x, w, call = tensor(rows, inputs), tensor(inputs, outputs), tf.function(tf.matmul)
    return lambda: call(x, w)


def step():
    layers = [(tf.Variable(w), tf.Variable(b)) for w, b in protocol.parameters()]
    x, labels = map(tf.constant, protocol.batch())
    variables = [v for pair in layers for v in pair]

    @tf.function
    def update(x, labels):
        with tf.GradientTape() as tape:
            x = tf.nn.dropout(x, 1 - KEEP_INPUT)
            for w, b in layers[:-1]:
                x = tf.nn.dropout(tf.nn.relu(tf.matmul(x, w) + b), 1 - KEEP)
            w, b = layers[-1]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.matmul(x, w) + b))
        for variable, grad in zip(variables, tape.gradient(loss, variables)):
            variable.assign_sub(LEARNING_RATE * grad)
        return loss

    return lambda: update(x, labels)


protocol.serve(tf.__version__, {"drop": drop, "drop+grad": drop_grad, "layer": layer, "matmul": matmul, "step": step})
