"""What a phase may take of the machine, over its whole tree."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.supervisor import proc, usage
from swarm.supervisor.proc import Process
from swarm.supervisor.usage import UsageWatch


def process(pid: int, threads: int = 1) -> Process:
    return Process(pid=pid, ppid=1, pgrp=pid, session=pid, starttime=0, cpu_seconds=0.0, threads=threads)


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Process]]:
    """The processes that are found below the supervisor."""
    found: list[Process] = []
    monkeypatch.setattr(proc, "descendants", lambda root: found)
    yield found


def look(folder: Path, memory_limit_mib: int | None = None) -> tuple[str | None, str]:
    watch = UsageWatch([str(folder)], memory_limit_mib, 0.0)
    assert watch.look(0.5) is None, "it looks once a second"
    return watch.look(2.0), watch.detail


def test_an_ordinary_training_exceeds_nothing(tmp_path: Path, tree: list[Process]) -> None:
    tree += [process(os.getpid(), 12)]
    (tmp_path / "weights.pt").write_bytes(b"x" * 4096)
    assert look(tmp_path, 100_000) == (None, "")


def test_threads_of_all_processes_are_limited_together(tmp_path: Path, tree: list[Process]) -> None:
    tree += [process(pid, 100) for pid in range(4)]
    excess, detail = look(tmp_path)
    assert (excess, "4 processes with 400 threads" in detail) == ("process_limit", True)


def test_memory_of_all_processes_is_limited_together(
    tmp_path: Path, tree: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree += [process(1), process(2)]
    monkeypatch.setattr(proc, "resident_mib", lambda pid: 700.0)
    monkeypatch.setattr(proc, "own_share_mib", lambda pid: 600.0)
    excess, detail = look(tmp_path, 1000)
    assert (excess, "1200 MiB of memory in 2 processes" in detail) == ("memory_limit", True)
    monkeypatch.setattr(proc, "own_share_mib", lambda pid: 400.0)  # they share most of it
    assert look(tmp_path, 1000)[0] is None


def test_files_are_limited_in_number_and_size(
    tmp_path: Path, tree: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_FILES", 10)
    for number in range(9):
        (tmp_path / str(number)).touch()
    assert look(tmp_path)[0] is None
    (deep := tmp_path / "a" / "b").mkdir(parents=True)
    assert look(tmp_path)[0] == "disk_limit"
    deep.rmdir()
    monkeypatch.setattr(usage, "MOST_FILE_MIB", 1)
    (tmp_path / "large").write_bytes(os.urandom(1 << 21))
    assert look(tmp_path)[0] == "disk_limit"


def test_a_deleted_file_that_is_still_open_counts(
    tmp_path: Path, tree: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.append(process(os.getpid()))
    monkeypatch.setattr(usage, "MOST_FILE_MIB", 1)
    with (tmp_path / "gone").open("wb") as file:
        file.write(os.urandom(1 << 21))
        file.flush()
        (tmp_path / "gone").unlink()
        assert look(tmp_path)[0] == "disk_limit"
    assert look(tmp_path)[0] is None
