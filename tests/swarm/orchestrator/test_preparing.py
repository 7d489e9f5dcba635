"""What a target makes once per machine: once, whole or not at all, and known by its content."""

import threading
from pathlib import Path

import pytest
from factories.settings import run_settings

from swarm.errors import SwarmError, TargetError, TrialError
from swarm.execution.prepared import content_sha256, read_prepared, with_prepared
from swarm.orchestrator.data import DataReport
from swarm.orchestrator.preparing import Prepared, prepare
from swarm.target.file import Target, load_target

TOML = """\
name = "toy"
editable = ["fit.py"]
noise = "items"

[budget]
kind = "work"

[prepare]
command = "python make.py"
limit_s = 60

[run]
command = "python fit.py"
outputs = [{ name = "a.json", type = "json" }]

[grade]
command = "python grade.py"

[test]
inputs = "test/inputs"
private = "test/private"

[profile.cpu]
budget = 10
walltime_limit_s = 60
memory_mib = 500
threads = 1

[profile.gpu]
budget = 10
walltime_limit_s = 60
memory_mib = 500
threads = 1
"""
MAKE = """\
import os, pathlib
assert not pathlib.Path("fit.py").exists(), "an editable file has no say in it"
with open(os.environ["RUNS"], "a") as file:
    file.write("x")
print("making")
pathlib.Path("inputs/model.txt").write_text("weights")
pathlib.Path("private/hidden.txt").write_text(os.environ.get("SWARM_DATA_DIR", "none"))
pathlib.Path("test/private/hidden.txt").write_text("other")
pathlib.Path("elsewhere.txt").write_text("is not taken")
"""


class Machine:
    """A repository with the target, a cache, and how often the command ran."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.cache, self._runs = folder / "repo", folder / "cache", folder / "runs"
        monkeypatch.setenv("SWARM_CACHE", str(self.cache))
        monkeypatch.setenv("RUNS", str(self._runs))
        self.files = {"fit.py": b"pass\n", "make.py": MAKE.encode(), "grade.py": b"", "inputs/own.txt": b"committed"}
        self.said: list[str] = []

    def target(self, toml: str = TOML) -> Target:
        home = self.root / "models" / "toy"
        (home / "inputs").mkdir(parents=True, exist_ok=True)
        for path, content in self.files.items():
            (home / path).write_bytes(content)
        (home / "target.toml").write_text(toml)
        return load_target("toy", self.root)

    def prepare(self, toml: str = TOML, data: DataReport | None = None) -> Prepared:
        made = prepare(self.target(toml), self.files, data, self.said.append)
        assert made is not None
        return made

    @property
    def runs(self) -> int:
        return len(self._runs.read_text()) if self._runs.exists() else 0

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "prepared").iterdir() if path.suffix != ".lock")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_it_is_made_once_and_again_when_what_makes_it_changes(machine: Machine) -> None:
    first = machine.prepare()
    made = read_prepared(first.folder)
    assert sorted(made) == ["inputs/model.txt", "private/hidden.txt", "test/private/hidden.txt"]
    assert first.sha256 == content_sha256(made) and first.folder.stat().st_mode & 0o077 == 0
    machine.files["fit.py"] = b"other\n"
    assert machine.prepare() == first and machine.runs == 1
    machine.files["make.py"] += b"# changed\n"
    assert machine.prepare().folder != first.folder and machine.runs == 2
    assert "making" in machine.said


def test_whoever_comes_second_waits_for_the_first(machine: Machine) -> None:
    machine.files["make.py"] += b"import time; time.sleep(0.3)\n"
    target, found = machine.target(), []
    both = [threading.Thread(target=lambda: found.append(prepare(target, machine.files, None, str))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(found) == 2 and found[0] == found[1] and machine.runs == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("raise SystemExit('no text')", "ended with exit code 1: no text"),
        ("pathlib.Path('private/link').symlink_to('/etc/passwd')", "neither a plain file nor a folder"),
        ("import shutil; [shutil.rmtree(one) for one in ('inputs', 'private', 'test')]", "left no file below inputs"),
        ("pathlib.Path('inputs/large').open('wb').truncate(49 << 20)", "holds more than 48 MiB"),
    ],
)
def test_what_fails_is_said_and_leaves_nothing(machine: Machine, more: str, why: str) -> None:
    machine.files["make.py"] += more.encode()
    with pytest.raises(SwarmError, match=why):
        machine.prepare()
    assert machine.left() == []


def test_what_takes_too_long_is_killed_with_its_children(machine: Machine) -> None:
    machine.files["make.py"] += b"import subprocess; subprocess.run(['sleep', '20'])\n"
    with pytest.raises(TargetError, match=r"took longer than its limit of 2 s"):
        machine.prepare(TOML.replace("limit_s = 60", "limit_s = 2"))
    assert machine.left() == []


def test_what_is_not_as_it_was_made_is_made_again(machine: Machine) -> None:
    first = machine.prepare()
    (first.folder / "inputs" / "model.txt").write_text("others")
    assert machine.prepare() == first and machine.runs == 2
    settings = run_settings(prepared=first.folder, prepared_sha256=first.sha256)
    assert with_prepared({"fit.py": b""}, settings)["inputs/model.txt"] == b"weights"
    (first.folder / "inputs" / "model.txt").write_text("others")
    with pytest.raises(TrialError, match="not what this study began with"):
        with_prepared({}, settings)
    first.folder.rename(first.folder.with_name("gone"))
    with pytest.raises(TrialError, match="is gone or not what"):
        with_prepared({}, settings)
    assert with_prepared({"a": b"1"}, run_settings()) == {"a": b"1"}


def test_the_data_that_it_names_are_there_and_part_of_what_made_it(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.npy").write_bytes(b"text")
    data = DataReport(dataset="kjv", data_dir=tmp_path / "data")
    with_text = machine.prepare(data=data)
    assert read_prepared(with_text.folder)["private/hidden.txt"] == str(tmp_path / "data").encode()
    (tmp_path / "data" / "text.npy").write_bytes(b"other")
    assert machine.prepare(data=data).folder != with_text.folder


def test_only_a_grader_has_something_prepared(machine: Machine) -> None:
    with pytest.raises(TargetError, match=r"prepare, test and run.outputs are for a grader"):
        machine.target(TOML.replace('[grade]\ncommand = "python grade.py"\n', "").replace('"items"', '"seeds"'))
    with pytest.raises(TargetError, match=r"\[prepare\] is there and \[run\] is missing"):
        sealed = TOML[: TOML.index("[run]")] + TOML[TOML.index("[profile.cpu]") :]
        machine.target(sealed.replace('noise = "items"', "classes = 2"))
    assert (
        prepare(machine.target(TOML.replace(TOML[TOML.index("[prepare]") : TOML.index("[run]")], "")), {}, None, str)
        is None
    )
