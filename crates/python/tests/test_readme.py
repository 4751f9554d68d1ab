"""The README's snippets and the examples, as printed."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(
    r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", (ROOT / "README.md").read_text(), re.S
)


@pytest.mark.parametrize(("code", "printed"), SNIPPETS, ids=["NumPy", "PyTorch", "JAX"])
def test_a_snippet_prints_what_the_readme_says(code, printed):
    for framework in ("torch", "jax"):
        if re.search(rf"^import {framework}", code, re.M):
            pytest.importorskip(framework)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == printed


def test_one_training_is_the_same_on_any_split():
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ways = runpy.run_path(str(ROOT / "examples" / "split.py"))["table"]()
    (_, masks, loss), *others, (control, wrong, _) = ways
    assert len(others) == 4 and control.startswith("control")
    for name, others_masks, others_loss in others:
        assert others_masks == masks, name
        assert others_loss == pytest.approx(loss, abs=1e-5), name
    assert wrong != masks
