"""Several real processes on one brain: killed, stopped, racing."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from fakes.failing_disk import DeadlyDisk
from filelock import FileLock

from swarm.brain import Brain, read_records, verify
from swarm.errors import BrainError, StaleSnapshot
from swarm.records import Note, Record
from swarm.study.state import BrainState

FORK = multiprocessing.get_context("fork")
WRITERS = 8
APPENDS = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "swarm_brain.jsonl"
    Brain(path).append(Note(study_id="s"))
    return path


@contextmanager
def running(target: Callable[..., None], *args: object) -> Iterator[BaseProcess]:
    process = FORK.Process(target=target, args=args)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def append_and_acknowledge(path: Path, writer: int, acknowledged: int) -> None:
    brain = Brain(path)
    for index in range(APPENDS):
        name = f"{writer:08d}{index:08d}"
        brain.append(Note(study_id="s", id=name))
        os.write(acknowledged, name.encode())


def kill_writers(path: Path, round_: int) -> set[str]:
    """One round: eight writers, six of them killed at random moments. The ids that were acknowledged."""
    chance = random.Random(round_)
    reading, writing = os.pipe()
    writers = [
        FORK.Process(target=append_and_acknowledge, args=(path, round_ * WRITERS + index, writing))
        for index in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    os.close(writing)
    for victim in chance.sample(writers, WRITERS - 2):
        time.sleep(chance.uniform(0.0, 0.06))
        victim.kill()
    said = b""
    while chunk := os.read(reading, 1 << 16):
        said += chunk
    os.close(reading)
    for writer in writers:
        writer.join()
        assert writer.exitcode in (0, -signal.SIGKILL)
        writer.close()
    text = said.decode()
    return {text[start : start + 16] for start in range(0, len(text), 16)}


@pytest.mark.parametrize("rounds", [2, pytest.param(500, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])])
def test_every_acknowledged_record_survives_kill_9_and_is_there_once(path: Path, rounds: int) -> None:
    acknowledged: set[str] = set()
    for round_ in range(rounds):
        acknowledged |= kill_writers(path, round_)
    Brain(path).append(Note(study_id="s"))
    found = Counter(record.id for record in read_records(path))
    assert len(acknowledged) >= 2 * APPENDS * rounds
    assert acknowledged <= found.keys()
    assert set(found.values()) == {1}
    assert verify(path).ok


def die_halfway(path: Path) -> None:
    Brain(path, disk=DeadlyDisk()).append(Note(study_id="s", id="lost"))


def test_a_writer_killed_in_the_middle_of_a_line_costs_nobody_else_anything(path: Path) -> None:
    reader = Brain(path)
    with running(die_halfway, path) as process:
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert reader.snapshot().seq == 1
    [record] = reader.append(Note(study_id="s", id="lost"))  # never acknowledged, so it is sent again
    assert record.seq == 2
    assert b"lost" in path.with_suffix(".torn").read_bytes()
    assert verify(path).ok


def claim_once(path: Path, ready: Callable[[], object], results: int) -> None:
    brain = Brain(path)
    read_seq = brain.snapshot().seq
    ready()

    def build(state: BrainState) -> list[Record]:
        if state.seq != read_seq:
            raise StaleSnapshot(f"read at {read_seq}, now {state.seq}")
        return [Note(study_id="s")]

    try:
        brain.transact(build)
        os.write(results, b"W")
    except StaleSnapshot:
        os.write(results, b"S")


def test_of_two_claims_on_one_snapshot_one_is_stale(path: Path) -> None:
    reading, writing = os.pipe()
    barrier = FORK.Barrier(2)
    with (
        running(claim_once, path, barrier.wait, writing) as one,
        running(claim_once, path, barrier.wait, writing) as two,
    ):
        one.join()
        two.join()
    assert sorted(os.read(reading, 2)) == sorted(b"WS")
    os.close(reading)
    os.close(writing)
    assert Brain(path).snapshot().seq == 2


def hold_lock(path: Path, told: int) -> None:
    with FileLock(f"{path}.lock"):
        Path(f"{path}.lock").write_text(f"{os.getpid():<20d}\n")
        os.write(told, b"x")
        time.sleep(60)


def test_a_stopped_holder_is_never_broken_and_is_named(path: Path) -> None:
    reading, writing = os.pipe()
    with running(hold_lock, path, writing) as holder:
        os.read(reading, 1)
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        os.utime(f"{path}.lock", (0, 0))  # however old it looks
        waiting = Brain(path, lock_timeout_s=0.3)
        with pytest.raises(BrainError, match=rf"waited 0\.3 s .* held by pid {holder.pid} \(.*, stopped\)"):
            waiting.append(Note(study_id="s"))
        assert Brain(path).snapshot().seq == 1  # readers do not care
        holder.kill()
        holder.join()
        assert [record.seq for record in waiting.append(Note(study_id="s"))] == [2]
    os.close(reading)
    os.close(writing)


def test_the_lock_file_stays_and_says_who_wrote_last(path: Path) -> None:
    lock = path.with_name(path.name + ".lock")
    before = lock.stat().st_ino
    Brain(path).append(Note(study_id="s"))
    assert lock.stat().st_ino == before
    assert int(lock.read_text()) == os.getpid()


def test_a_lock_file_that_somebody_deletes_does_not_split_the_writers(path: Path) -> None:
    lock = path.with_name(path.name + ".lock")
    reading, writing = os.pipe()
    with running(hold_lock, path, writing) as holder:
        os.read(reading, 1)
        waiting = Brain(path, lock_timeout_s=20)
        waiter = threading.Thread(target=waiting.append, args=(Note(study_id="s"),))
        waiter.start()  # waits for the lock of a file that is about to go
        time.sleep(0.1)
        lock.unlink()
        with FileLock(lock):  # the lock of the new file
            holder.kill()
            time.sleep(0.2)
            assert Brain(path).snapshot().seq == 1
        waiter.join()
    assert Brain(path).snapshot().seq == 2
    os.close(reading)
    os.close(writing)


def test_a_lock_that_is_a_symlink_is_refused(path: Path) -> None:
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    lock.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(BrainError, match="cannot lock"):
        Brain(path).append(Note(study_id="s"))
    assert path.read_bytes() == before
