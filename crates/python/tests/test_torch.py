"""The modules and functions for PyTorch."""

from __future__ import annotations

import copy
import hashlib
import io
import warnings

import numpy as np
import pytest
from conftest import lines

import wgpu_dropout as wd

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from wgpu_dropout import _generic, _native, _op  # noqa: E402
from wgpu_dropout import torch as wt  # noqa: E402

KEY = {"seed": 2**64 - 1, "layer": 0x8000_0001, "step": 2**32 - 1}
FORMS = [
    (form, shape)
    for form, shape in [
        ("elements", (6, 5, 33)),
        ("elements", (9,)),
        ("elements", ()),
        ("channels", (3, 4, 5, 6)),
        ("channels", (3, 4)),
        ("samples", (4, 5, 6)),
        ("alpha", (7, 13)),
        ("alpha gradient", (7, 13)),
    ]
]


def sha(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.to(torch.uint8).numpy().tobytes()).hexdigest()


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal(shape, np.float32))


def call(x, form, rate=0.3, seed=5, layer=1, step=3, row=0, col=0):
    return _op.dropout(x, form, rate, seed, layer, torch.tensor(step), torch.tensor(row), col)


@pytest.mark.parametrize("line", lines("mask"), ids=lambda line: line.text[:40])
@pytest.mark.parametrize("form", ["crate", "integers"])
def test_masks_are_those_of_the_contract(line, form):
    seed, layer, step, row, col, rows, cols = line.whole(*range(7))
    if rows * cols == 0 or (form == "integers" and rows * cols > 2_000_000):
        pytest.skip("nothing to draw, or too long")
    ones, rate = torch.ones(rows, cols), line.drop(7)
    if form == "crate":
        where = {"seed": seed, "layer": layer, "step": step, "row": row, "col": col}
        mask = wt.dropout(ones, rate, **where) != 0
    else:
        places = torch.tensor(step), torch.tensor(row)
        threshold = _native.threshold(rate)
        mask = _generic.kept(rows, cols, threshold, seed, layer, *places, col, ones.device)
    assert (int(mask.sum()), sha(mask)) == (int(line.words[8]), line.words[9])


@pytest.mark.parametrize("line", lines("philox"), ids=lambda line: line.text[:60])
def test_the_generator_s_words_are_the_published_ones(line):
    rounds, *words = line.words
    if rounds != "10":
        pytest.skip("another number of rounds")
    words = [int(word, 16) for word in words]
    counter = [torch.tensor([word]) for word in words[:4]]
    found = _generic.philox(counter, words[4] | words[5] << 32)
    assert [int(word) for word in found] == words[6:]


@pytest.mark.parametrize(("form", "shape"), FORMS)
def test_integers_give_what_the_crate_gives(form, shape):
    x = noise(*shape)
    numbers = (0.3, -5, 0x8000_0001)
    places = torch.tensor(2**32 - 1), torch.tensor(5)
    here = _op.dropout(x, form, *numbers, *places, 11)
    there = _op._anywhere(x, form, 0.3, 2**64 - 5, 0x8000_0001, *places, 11)
    assert torch.equal(here, there)


# PyTorch warns about what its own check does.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("form", ["elements", "channels", "samples", "alpha"])
def test_pytorch_s_own_checks_of_an_operation_pass(form):
    x = noise(4, 6, 8).requires_grad_()
    arguments = (x, form, 0.25, 5, 1, torch.tensor(3), torch.tensor(2), 0)
    results = torch.library.opcheck(_op.dropout, arguments)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("form", ["elements", "channels", "samples"])
def test_gradients_are_differences(form):
    # The operation is linear, so differences by powers of two are exact in f32.
    x = torch.randint(-8, 8, (3, 4, 5)).float().requires_grad_()
    options = {"eps": 2**-3, "atol": 0.0, "rtol": 0.0, "nondet_tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # It expects f64.
        assert torch.autograd.gradcheck(lambda x: call(x, form, 0.5), x, **options)

        class Wrong(torch.autograd.Function):
            """Control: the gradient of another step's mask."""

            @staticmethod
            def forward(ctx, x):
                return call(x, form, 0.5)

            @staticmethod
            def backward(ctx, grad):
                return call(grad, form, 0.5, step=4)

        assert not torch.autograd.gradcheck(Wrong.apply, x, raise_exception=False, **options)


def test_the_gradient_of_alpha_dropout_is_its_slope():
    x = noise(7, 13).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: call(x, "alpha"), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_rounded_once(dtype):
    x = noise(5, 100).to(dtype)
    y = wt.dropout(x, 0.3, **KEY)
    mask = torch.from_numpy(wd.mask((5, 100), 0.3, **KEY)).bool()
    wide = x if dtype == torch.float64 else x.float()
    right = torch.where(mask, wide * np.float32(1 / (1 - wd.rate_in_effect(0.3))), 0.0).to(dtype)
    assert y.dtype == dtype and torch.equal(y, right)


def test_strides_and_expanded_gradients():
    x = noise(6, 10)
    right = wt.dropout(x, 0.3, **KEY)
    assert torch.equal(wt.dropout(x.t().contiguous().t(), 0.3, **KEY), right)
    leaf = x.clone().requires_grad_()
    wt.dropout(leaf, 0.3, **KEY).sum().backward()
    assert torch.equal(leaf.grad != 0, right != 0)
    there = x.clone()
    assert wt.dropout(there, 0.3, inplace=True, **KEY) is there and torch.equal(there, right)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(16, 4))


def attached(seed: int = 42):
    net = model()
    assert wt.replace(net) == {}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    assert wt.attach(net, seed, optimizer) == {"2": 0, "4": 1}
    return net, optimizer


def gradients(net: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in net.parameters()]


def test_a_batch_in_parts_is_the_whole():
    (whole, _), (parts, _) = attached(), attached()
    x = noise(64, 8)
    whole(x).sum().backward()
    for first in (0, 32):
        wt.set_sample(parts, first)
        parts(x[first : first + 32]).sum().backward()
    pairs = list(zip(gradients(whole), gradients(parts)))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)
    # Without its place, the second part draws the masks of the first: a control.
    wrong, _ = attached()
    for first in (0, 32):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            wrong(x[first : first + 32]).sum().backward()
    assert not all(
        torch.allclose(a, b, atol=1e-4) for a, b in zip(gradients(whole), gradients(wrong))
    )


@pytest.mark.parametrize("preserve", [True, False])
def test_an_activation_that_is_computed_again_draws_the_same_mask(preserve):
    def gradient(net: nn.Module, again: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        x = noise(16, 8).requires_grad_()
        if again:
            options = {"use_reentrant": False, "preserve_rng_state": preserve}
            y = checkpoint(net, x, **options)
        else:
            y = net(x)
        # PyTorch's generator goes on between the two passes.
        torch.rand(1)
        y.sum().backward()
        return gradients(net)

    ours = [gradient(attached()[0], again) for again in (False, True)]
    assert all(torch.equal(a, b) for a, b in zip(*ours))
    if not preserve:
        theirs = [gradient(model(), again) for again in (False, True)]
        assert not all(torch.equal(a, b) for a, b in zip(*theirs)), "the control holds"


def test_a_resumed_run_is_one_that_never_stopped():
    def train(net, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            net(noise(16, 8)).square().mean().backward()
            optimizer.step()

    straight = attached()
    train(*straight, 6)
    first = attached()
    train(*first, 3)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = attached()
    for part, state in zip(second, torch.load(file)):
        part.load_state_dict(state)
    train(*second, 3)
    assert int(second[0][2].step) == 6
    pairs = zip(straight[0].state_dict().values(), second[0].state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)
    # A state without steps, as that of torch.nn, loads too.
    second[0].load_state_dict(model().state_dict())


def test_the_step_is_the_optimizer_s_and_a_second_forward_pass_is_told_once():
    net, optimizer = attached()
    x = noise(4, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            net(x).sum().backward()
            optimizer.step()
        net.eval()
        assert torch.equal(net(x), net(x))
        net.train()
        first = net(x)
        with pytest.raises(UserWarning, match="draw the same dropout masks"):
            net(x)
        assert torch.equal(net(x), first)
        wt.advance(net)
        assert not torch.equal(net(x), first)


def test_a_step_between_forward_and_backward_changes_no_gradient():
    net, _ = attached()
    x = noise(4, 8)
    y = net(x)
    wt.advance(net)
    y.sum().backward()
    other, _ = attached()
    other(x).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(gradients(net), gradients(other)))


def test_a_compiled_model_is_compiled_once():
    net, optimizer = attached()
    plain, plain_optimizer = attached()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            for run, parameters in ((compiled, optimizer), (plain, plain_optimizer)):
                run(noise(4, 8)).sum().backward()
                parameters.step()
            assert torch.equal(net[0].weight, plain[0].weight)


def test_copies_and_pickles_keep_seed_layer_and_step():
    net, optimizer = attached()
    net(noise(4, 8)).sum().backward()
    optimizer.step()
    copies = (copy.deepcopy(net), torch.load(saved(net), weights_only=False))
    right = net(noise(4, 8))
    for same in copies:
        assert torch.equal(same(noise(4, 8)), right)
        wt.advance(same)
        assert int(same[2].step) == 2 and int(net[2].step) == 1


def saved(net: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return file


def test_what_cannot_be_replaced_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, dropout=0.1)
            self.rnn = nn.LSTM(8, 8, 2, dropout=0.1)
            self.dropout = nn.Dropout(0.1)
            self.channels = nn.ModuleList([nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d()])
            self.alpha, self.feature = nn.AlphaDropout(), nn.FeatureAlphaDropout()
            self.quiet = nn.MultiheadAttention(8, 2)

        def forward(self, x):
            return self.dropout(nn.functional.dropout(x, 0.5, self.training))

    net = Net().eval()
    assert wt.replace(net) == {
        "": "a call of dropout",
        "attention": "the dropout inside of MultiheadAttention",
        "rnn": "the dropout inside of LSTM",
        "feature": "FeatureAlphaDropout",
    }
    kinds = [type(net.dropout), *map(type, net.channels), type(net.alpha)]
    assert kinds == [wt.Dropout, wt.Dropout1d, wt.Dropout2d, wt.Dropout3d, wt.AlphaDropout]
    assert not net.dropout.training


def test_channels_and_paths_are_dropped_whole():
    ones = torch.ones(5, 6, 3, 4)
    where = {"seed": 42}
    rows = wt.dropout(torch.ones(5, 6), 0.5, **where)
    assert torch.equal(wt.dropout2d(ones, 0.5, **where), rows.view(5, 6, 1, 1).expand(5, 6, 3, 4))
    assert torch.equal(wt.dropout2d(ones[0], 0.5, **where), wt.dropout2d(ones, 0.5, **where)[0])
    column = wt.dropout(torch.ones(5, 1), 0.5, **where)
    assert torch.equal(wt.drop_path(ones, 0.5, **where), column.view(5, 1, 1, 1).expand(5, 6, 3, 4))
    with pytest.raises(RuntimeError, match="expected 3 or 4 axes, but got 2"):
        wt.dropout2d(torch.ones(2, 2), 0.5, **where)


def test_refusals():
    x = torch.ones(3)
    with pytest.raises(ValueError, match="between 0 and 1, but got 1.5"):
        wt.Dropout(1.5)
    with pytest.raises(RuntimeError, match="Dropout has no seed: call attach"):
        wt.Dropout(0.5)(x)
    with pytest.raises(ValueError, match="seed is -1"):
        wt.dropout(x, 0.5, seed=-1)
    with pytest.raises(TypeError, match="torch.int64: must be a tensor of floating-point"):
        wt.dropout(torch.ones(3, dtype=torch.int64), 0.5, seed=1)
    with pytest.raises(ValueError, match="no dropout of wgpu_dropout.torch: call replace"):
        wt.attach(model(), 42)
    ours = wt.Dropout(0.5, seed=1)
    assert torch.equal(ours(x), wt.dropout(x, 0.5, seed=1))
    assert ours.eval()(x) is x
