"""The candidate's file is run as the text that the gate has read."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.harness.errors import ContractBroken
from swarm.harness.program import load_program


@pytest.fixture(autouse=True)
def _no_program_is_left() -> Iterator[None]:
    yield
    sys.modules.pop("program", None)


def test_a_comment_does_not_choose_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(b"# coding: utf-7\nX = 1  #+AAo-X = 2\n")
    assert load_program(path).X == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", [b"X = '\xff'\n", "X = 1\n".encode("utf-16"), b"# coding: latin-1\nX = '\xe4'\n"])
def test_what_is_not_utf8_breaks_the_contract(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(text)
    with pytest.raises(ContractBroken, match="is not UTF-8"):
        load_program(path)


def test_a_byte_order_mark_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(b"\xef\xbb\xbfX = 1\n")
    with pytest.raises(SyntaxError):
        load_program(path)
