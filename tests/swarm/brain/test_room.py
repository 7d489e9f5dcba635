"""What a full disk looks like, and the wait for room."""

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from fakes.fake_clock import FakeClock

from swarm.brain.room import ENOUGH_MIB, TRY_AFTER_S, is_full, require_room, shortage, wait_for_room
from swarm.errors import BrainError, DiskFull, RepoError, TrialError

Usage = namedtuple("Usage", "total used free")


def raised_from(cause: BaseException) -> TrialError:
    try:
        raise TrialError("it could not be laid out") from cause
    except TrialError as error:
        return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (DiskFull("x"), True),
        (RepoError("git write-tree failed: fatal: unable to write: No space left on device"), True),
        (raised_from(OSError(errno.ENOSPC, "x")), True),
        (OSError(errno.EACCES, "x"), False),
        (BrainError("No space left on device, said a program"), False),
        (RepoError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_which_errors_are_those_of_a_full_disk(error: BaseException, full: bool) -> None:
    assert is_full(error) == full


def test_a_shortage_names_the_folder_and_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [ENOUGH_MIB * 2**20 - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free[0]))
    assert shortage(tmp_path) == f"the disk of {tmp_path} is full: 32.0 MiB are free and 32 are needed"
    with pytest.raises(DiskFull, match=str(tmp_path)):
        require_room(tmp_path)
    free[0] += 1
    assert shortage(tmp_path) is None
    require_room(tmp_path)
    assert shortage(tmp_path / os.devnull) is None


def test_the_wait_ends_with_room_with_the_study_or_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free[0]))
    assert wait_for_room(tmp_path, clock, lambda: True), "a quota does not show in what is free"
    assert clock.monotonic() == pytest.approx(TRY_AFTER_S, abs=2.1)
    assert not wait_for_room(tmp_path, clock, lambda: False)
    free[0] = 10**9
    began = clock.monotonic()
    assert wait_for_room(tmp_path, clock, lambda: True)
    assert clock.monotonic() - began < 3
