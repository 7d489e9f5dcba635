"""A trial's folder, and the one reader of what a candidate may have left in it."""

import ast
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.trial.files import MAX_JSON_BYTES, Unreadable, read_json, read_plain, read_tail, remove_tree
from swarm.trial.folder import TrialFolder

ROOT = Path(__file__).parents[3]


def test_a_plain_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_plain(path, 5) == b"12345"
    with pytest.raises(Unreadable, match="file has 5 bytes, limit 4"):
        read_plain(path, 4)
    assert read_tail(path, 2) == b"45"


@pytest.fixture(params=["missing", "folder", "pipe", "link", "link to nothing", "device", "sparse"])
def hostile(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "file"
    match request.param:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            (tmp_path / "target").write_text("{}")
            path.symlink_to(tmp_path / "target")
        case "link to nothing":
            path.symlink_to(tmp_path / "nothing")
        case "device":
            path.symlink_to("/dev/zero")
        case "sparse":
            with path.open("wb") as file:
                file.truncate(1 << 40)
    return path


def test_anything_else_is_refused_at_once(hostile: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unreadable):
        read_plain(hostile, 1 << 20)
    assert read_json(hostile) is None
    assert len(read_tail(hostile, 1 << 16)) <= 1 << 16
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"a": ',
        b"[" * 100_000,
        b'{"a": 1' + b"0" * 6000 + b"}",
        b" " * (MAX_JSON_BYTES + 1),
    ],
)
def test_what_is_no_json_object_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_json(tmp_path / "file") is None


def test_rungs_are_found_by_their_own_names_in_order(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.make()
    for name in ("rung_50.npy", "rung_25.npy", "rung_x.npy", "rung_025.npy", "rung_100.npy", "rung_7.npy.tmp"):
        (folder.private / name).touch()
    assert folder.rungs_reached() == [25, 50]


def test_what_is_left_is_removed_however_it_was_left(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "file").touch()
    (folder / "closed").chmod(0)
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(tmp_path)
    deep = folder
    for _ in range(1500):
        deep = deep / "d"
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    remove_tree(folder)
    assert not folder.exists() and tmp_path.exists()


def test_private_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "t")
    folder.make()
    assert folder.private.stat().st_mode & 0o777 == 0o700


# --- one owner of names

OWNER = ROOT / "swarm" / "trial" / "folder.py"
DATA_CACHE = {f"swarm/harness/{name}.py" for name in ("folders", "layout", "prepare", "text")}  # its own
PROTOCOLS = "workers/agent_check/protocols.py"  # a `stop_reason` is a word of Anthropic's as well


def names_of_a_trial() -> set[str]:
    """Every last part of a path that the owner makes."""
    tree = ast.parse(OWNER.read_text())
    parts = (node.right for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def literal_names(source: str, names: set[str]) -> Iterator[tuple[int, str]]:
    """Names of a trial's files in a text: joined by `/`, or unmistakable (with an ending or an underscore)."""
    plain = {name for name in names if "." in name or "_" in name or name == "heartbeat"}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(name))) if set(name.split("/")) & names:
                yield node.lineno, name
            case ast.Constant(value=str(text)) if text in plain or (set(text.split("/")) & plain and " " not in text):
                yield node.lineno, text
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]) if re.fullmatch(r"(.*/)?rung_", start):
                yield node.lineno, start


def test_nobody_else_names_a_file_of_a_trial() -> None:
    names = names_of_a_trial()
    assert {"train_out", "harness.json", "weights.pt", "score.json", "losses.npy", "heartbeat"} <= names
    found = [
        f"{path.relative_to(ROOT)}:{line} {name!r}"
        for part in ("swarm", "workers")
        for path in sorted((ROOT / part).rglob("*.py"))
        if path != OWNER and str(path.relative_to(ROOT)) not in {*DATA_CACHE, PROTOCOLS}
        for line, name in literal_names(path.read_text(), names)
    ]
    assert found == []


def test_the_check_finds_what_it_looks_for() -> None:
    source = """
folder / "train_out" / "x"
weights = "weights.pt"
rung = f"rung_{1}.npy"
name = "a private matter"
column = "logs"
"""
    assert {name for _, name in literal_names(source, names_of_a_trial())} == {"train_out", "weights.pt", "rung_"}
