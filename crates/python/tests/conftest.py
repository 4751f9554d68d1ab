"""What the tests share: the lines of the contract's file of vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[2] / "contract" / "vectors" / "mask_contract_1.txt"


class Line:
    """A line of the file: its kind, and its words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind, *self.words = text.split()

    def whole(self, *indices: int) -> list[int]:
        """Returns words as whole numbers."""
        return [int(self.words[index], 0) for index in indices]

    def drop(self, index: int) -> float:
        """Returns the drop rate of a keep rate, which both round to the same multiple."""
        return 1.0 - float(self.words[index])


def lines(*kinds: str) -> list[Line]:
    """Returns the lines of these kinds."""
    text = VECTORS.read_text().splitlines()
    found = [Line(line) for line in text if line and not line.startswith("#")]
    found = [line for line in found if line.kind in kinds]
    assert found, kinds
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu")
