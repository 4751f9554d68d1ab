"""Networks of the command line in PyTorch, and back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import wgpu_dropout as wd

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from torch import nn  # noqa: E402

from wgpu_dropout import networks  # noqa: E402

PROGRAM = os.environ.get("WGPU_DROPOUT")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def run(folder: Path, line: str) -> str:
    if PROGRAM is None:
        pytest.skip("WGPU_DROPOUT names no program")
    done = subprocess.run([PROGRAM, *line.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("norm", ["", "--batch-norm before", "--batch-norm after"])
def test_a_trained_network_predicts_what_the_command_line_predicts(tmp_path, norm):
    run(
        tmp_path, f"train --device cpu --epochs 2 --hidden 16,8 --drop 0.3 --seed 7 {norm} --save n"
    )
    net = networks.load(tmp_path / "n")
    x = np.abs(noise(20, 64))
    np.save(tmp_path / "x.npy", x)
    run(tmp_path, "predict --device cpu --model n --data x.npy --output p.npy")
    right = np.load(tmp_path / "p.npy")
    with torch.no_grad():
        found = net.eval()(torch.from_numpy(x)).softmax(1).numpy()
    assert np.allclose(found, right, atol=1e-6)
    networks.save(net, tmp_path / "back")
    line = "predict --device cpu --model back --data x.npy --output q.npy"
    run(tmp_path, line)
    assert np.array_equal(np.load(tmp_path / "q.npy"), right)
    # The unit of the data, the classes and the step came along.
    network = json.loads(run(tmp_path, "predict --device cpu --model back --data digits --json"))
    before = json.loads(run(tmp_path, "predict --device cpu --model n --data digits --json"))
    assert network["loss"] == before["loss"]


def test_the_masks_of_a_loaded_network_are_those_of_training(tmp_path):
    run(tmp_path, "train --device cpu --epochs 1 --hidden 16 --drop 0.3 --seed 7 --save n")
    net = networks.load(tmp_path / "n")
    step = int(net.metadata["step"])
    dropped = net[3](torch.ones(5, 16))
    mask = wd.mask((5, 16), 0.3, seed=7, layer=1, step=step)
    assert step > 0 and np.array_equal(dropped.numpy() != 0, mask != 0)


def test_a_model_goes_there_and_back(tmp_path):
    layers = [nn.Dropout(0.2), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.Linear(5, 3)).eval()
    networks.save(model, tmp_path / "n", seed=9, unit="1/255")
    back = networks.load(tmp_path / "n").eval()
    assert (back.metadata["unit"], back[0].seed, back[0].p, back[4].p) == ("1/255", 9, 0.2, 0.5)
    x = torch.from_numpy(noise(4, 6))
    assert torch.equal(back(x), model(x))


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)], "Tanh is no module of a saved network"),
        ([nn.Linear(3, 3), nn.Linear(3, 3)], "no chain of Linear, ReLU"),
        ([nn.Linear(3, 3), nn.ReLU()], "no chain of Linear, ReLU"),
        ([nn.Linear(3, 3, bias=False)], "a layer has no bias"),
    ],
)
def test_other_models_are_refused(tmp_path, layers, words):
    with pytest.raises(ValueError, match=words):
        networks.save(nn.Sequential(*layers), tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_other_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"layers.0.weight": np.ones((2, 2), np.float32)}, tmp_path / "n")
    with pytest.raises(ValueError, match="not saved by wgpu-dropout"):
        networks.load(tmp_path / "n")
