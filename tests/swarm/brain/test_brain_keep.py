"""A brain that is deleted or exchanged while it is in use, with a second copy: it is put back and nothing is lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.failing_disk import FailingDisk, UnsyncedDisk
from fakes.fake_clock import FakeClock

from swarm.brain import Brain, read_records, verify
from swarm.errors import BrainError, BrainReplaced, DiskFull
from swarm.records import Note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work" / "swarm_brain.jsonl"


def kept(path: Path) -> Path:
    return path.parents[1] / "kept" / "copy.jsonl"


def opened(path: Path, **more: object) -> Brain:
    for folder in (path.parent, kept(path).parent):
        folder.mkdir(exist_ok=True)
    return Brain(path, FakeClock(), disk=UnsyncedDisk(), kept=kept(path), **more)  # type: ignore[arg-type,misc]


def note(detail: str) -> Note:
    return Note(study_id="s", detail=detail)


def details(path: Path) -> list[str]:
    return [record.detail for record in read_records(path) if isinstance(record, Note) and record.detail]


def delete(path: Path) -> None:
    path.unlink()


def older(path: Path) -> None:
    """As git does it: the file is taken away and the committed version written."""
    first = path.read_bytes().splitlines(keepends=True)[0]
    path.unlink()
    path.write_bytes(first)


def older_in_place(path: Path) -> None:
    os.truncate(path, len(path.read_bytes().splitlines(keepends=True)[0]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another(path: Path) -> None:
    path.unlink()
    Brain(path, disk=UnsyncedDisk()).append(note("of another branch"))


def rubbish(path: Path) -> None:
    path.write_bytes(b"<<<<<<< HEAD\n" * 400)


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


HARMS = [delete, older, older_in_place, empty, another, rubbish, torn]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("notices", ["writer", "reader", "newcomer"])
def test_what_was_acknowledged_is_put_back_whoever_notices(
    path: Path, harm: Callable[[Path], None], notices: str
) -> None:
    brain, other = opened(path), opened(path)
    brain.append(note("one"))
    brain.append(note("two"))
    other.snapshot()
    other.append(note("three"))
    harm(path)
    if notices == "newcomer":
        brain = opened(path)
    if notices != "writer":
        assert brain.snapshot().seq >= 3
    brain.append(note("four"))
    other.append(note("five"))
    assert details(path) == ["one", "two", "three", "four", "five"]
    assert verify(path).ok
    told = [record for record in read_records(path) if isinstance(record, Note) and record.topic == "brain"]
    assert len(told) == 1 and "it was put back with all 3 lines" in told[0].description


@pytest.mark.parametrize("harm", [older, older_in_place, empty, another, rubbish, torn])
def test_what_lay_in_its_place_is_set_aside_and_named(path: Path, harm: Callable[[Path], None]) -> None:
    brain = opened(path)
    brain.append(note("one"), note("two"))
    harm(path)
    found = path.read_bytes()
    brain.append(note("three"))
    [told] = [record for record in read_records(path) if isinstance(record, Note) and record.topic == "brain"]
    aside = list(path.parents[1].rglob("*.replaced"))
    assert [file.read_bytes() for file in aside] == [found]
    assert aside[0].parent == (path.parent if harm in (another, rubbish) else kept(path).parent)
    assert ("with lines that the study does not know" in told.description) == (harm in (another, rubbish))
    assert aside[0].name in told.description


def test_the_same_version_is_set_aside_once(path: Path) -> None:
    brain = opened(path)
    brain.append(note("one"))
    for number in range(10):
        older(path)
        brain.append(note(f"more {number}"))
    assert len(list(path.parents[1].rglob("*.replaced"))) == 1
    assert details(path) == ["one", *(f"more {number}" for number in range(10))]


def test_a_file_that_is_exchanged_during_an_append_costs_nothing(path: Path) -> None:
    class Exchanged(UnsyncedDisk):
        def write(self, fd: int, data: bytes) -> int:
            written = super().write(fd, data)
            older(path)
            return written

    opened(path).append(note("one"))
    hasty = Brain(path, FakeClock(), disk=Exchanged(), kept=kept(path))
    hasty.append(note("two"))
    assert opened(path).snapshot().seq == 2
    assert details(path) == ["one", "two"]


def test_a_file_that_is_exchanged_while_its_writer_waits_for_the_lock_costs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain = opened(path)
    brain.append(note("one"), note("two"))
    monkeypatch.setattr(brain, "snapshot", lambda: older(path))
    brain.append(note("three"))
    assert details(path) == ["one", "two", "three"]


def test_a_copy_that_is_deleted_is_made_again_from_the_brain(path: Path) -> None:
    brain = opened(path)
    brain.append(note("one"))
    kept(path).unlink()
    brain.append(note("two"))
    delete(path)
    assert brain.snapshot().seq == 2


def test_a_lock_that_is_deleted_lets_no_second_writer_in(path: Path) -> None:
    brain, other = opened(path), Brain(path, kept=kept(path), lock_timeout_s=0.1)

    def build(_: object) -> list[Note]:
        path.with_name(path.name + ".lock").unlink()
        with pytest.raises(BrainError, match=r"waited 0\.1 s"):
            other.append(note("both at once"))
        return [note("one")]

    brain.transact(build)
    assert details(path) == ["one"]


def test_both_gone_is_one_clear_error(path: Path) -> None:
    brain = opened(path)
    brain.append(note("one"))
    kept(path).unlink()
    delete(path)
    with pytest.raises(BrainReplaced, match="was deleted while it was in use"):
        brain.snapshot()


def test_no_room_to_put_it_back_is_said_and_loses_nothing(path: Path) -> None:
    brain = opened(path)
    brain.append(note("one"))
    delete(path)
    full = Brain(path, FakeClock(), disk=FailingDisk("write", error=28), kept=kept(path))
    with pytest.raises(DiskFull):
        full.snapshot()
    assert brain.snapshot().seq == 1 and details(path) == ["one"]


def test_a_folder_in_its_place_is_named(path: Path) -> None:
    brain = opened(path)
    brain.append(note("one"))
    delete(path)
    path.mkdir()
    with pytest.raises(BrainError, match="is a folder"):
        brain.append(note("two"))
    shutil.rmtree(path)
    brain.append(note("two"))
    assert details(path) == ["one", "two"]


def test_a_new_study_takes_the_brain_as_it_is_and_keeps_what_the_copy_alone_holds(path: Path) -> None:
    opened(path).append(note("one"), note("two"))
    older(path)
    newcomer = opened(path)
    said = newcomer.begin_keeping()
    assert said is not None and "An earlier study left 2 lines" in said
    newcomer.append(note("three"))
    assert details(path) == ["one", "three"]
    [left] = [file for file in kept(path).parent.glob("*.jsonl") if file != kept(path)]
    assert details(left) == ["one", "two"] and str(left) in said
    assert opened(path).begin_keeping() is None
