"""A disk that is full or dying: an append is whole or absent, and never acknowledged when it may be lost."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.failing_disk import FailingDisk, ShortDisk

from swarm.brain import Brain, verify
from swarm.errors import BrainError, DiskFull
from swarm.records import Note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "swarm_brain.jsonl"
    Brain(path).append(note("first"))
    return path


def note(detail: str = "x") -> Note:
    return Note(study_id="s", detail=detail)


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_no_room_leaves_no_half_record_and_work_goes_on_with_more(path: Path, room: int) -> None:
    brain = Brain(path)
    before = path.read_bytes()
    with file_size_limit(len(before) + room), pytest.raises(DiskFull, match="Free some space"):
        brain.append(note(), note())
    assert path.read_bytes() == before
    [record] = brain.append(note())
    assert record.seq == 2
    assert verify(path).ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system: a full disk is not verified")
def test_a_full_file_system_refuses_whole_appends(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=False).returncode:
        pytest.skip("may not mount here: a full disk is not verified")
    try:
        brain = Brain(small / "swarm_brain.jsonl")
        with pytest.raises(DiskFull):
            for _ in range(100):
                brain.append(note("y" * 3000))
        report = verify(brain.path)
        assert report.ok
        assert report.torn_bytes == 0
        assert 10 < report.lines < 25
        assert brain.snapshot().seq == report.lines
    finally:
        subprocess.run(["umount", small], check=True)
        shutil.rmtree(small)


def test_a_short_write_is_taken_back(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(DiskFull, match=r"append \d+ bytes .* 50 bytes fitted; the append was taken back"):
        Brain(path, disk=ShortDisk(50)).append(note())
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_each_way_to_be_full_is_called_full(path: Path, error: int) -> None:
    with pytest.raises(DiskFull, match="Free some space"):
        Brain(path, disk=FailingDisk("write", error=error)).append(note())


def test_a_write_error_that_is_not_about_room_is_not_called_full(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BrainError, match="Input/output error") as caught:
        Brain(path, disk=FailingDisk("write")).append(note())
    assert not isinstance(caught.value, DiskFull)
    assert path.read_bytes() == before


def test_a_failed_fsync_is_no_acknowledgement_and_stops_further_appends(path: Path) -> None:
    disk = FailingDisk("sync")
    brain = Brain(path, disk=disk)
    before = path.read_bytes()
    with pytest.raises(BrainError, match=r"fsync failed .*taken back"):
        brain.append(note())
    assert path.read_bytes() == before
    disk.failing.clear()
    with pytest.raises(BrainError, match="appends no more"):  # a second fsync that succeeds proves nothing
        brain.append(note())
    assert brain.snapshot().seq == 1


def test_a_failed_rollback_is_said_and_the_next_writer_repairs(path: Path) -> None:
    class Stuck(ShortDisk):
        def truncate(self, fd: int, size: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(DiskFull, match="not taken back"):
        Brain(path, disk=Stuck(50)).append(note())
    [record] = Brain(path).append(note())
    assert record.seq == 2
    assert verify(path).ok


def test_torn_bytes_are_not_cut_off_before_they_are_safe_elsewhere(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"v":1,"se')
    before = path.read_bytes()
    with pytest.raises(DiskFull):
        Brain(path, disk=FailingDisk("write", error=errno.ENOSPC)).append(note())
    assert path.read_bytes() == before
