"""Being told that the brain has changed, with events and without."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.brain import Brain
from swarm.brain.watch import filesystem_of, sends_events
from swarm.errors import BrainReplaced, UsageError
from swarm.records import Note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarm_brain.jsonl"


@contextmanager
def soon(action: object, *args: object) -> Iterator[None]:
    timer = threading.Timer(0.15, action, args)  # type: ignore[arg-type]
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize(("method", "poll_s"), [("inotify", 30.0), ("poll", 0.1)])
def test_an_append_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch, method: str, poll_s: float) -> None:
    monkeypatch.setenv("SWARM_WATCH", method)
    states = Brain(path).watch(timeout_s=20, poll_s=poll_s)
    assert next(states).seq == 0
    began = time.monotonic()
    with soon(Brain(path).append, Note(study_id="s")):
        assert next(states).seq == 1
    with soon(Brain(path).append, Note(study_id="s"), Note(study_id="s")):
        assert next(states).seq == 3
    assert time.monotonic() - began < 15
    states.close()


def test_polling_backs_up_events_that_do_not_come(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_WATCH", "inotify")
    Brain(path).append(Note(study_id="s"))
    link = path.parent / "elsewhere"
    link.mkdir()
    alias = link / "swarm_brain.jsonl"
    alias.hardlink_to(path)  # a change through this name causes no event in the folder of the other
    states = Brain(path).watch(timeout_s=20, poll_s=0.1)
    next(states)
    began = time.monotonic()
    with soon(Brain(alias).append, Note(study_id="s")):
        assert next(states).seq == 2
    assert time.monotonic() - began < 15
    states.close()


def test_a_burst_is_one_change(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_WATCH", "inotify")
    brain = Brain(path)
    states = brain.watch(timeout_s=20, poll_s=30)
    next(states)
    writer = Brain(path)
    with soon(lambda: [writer.append(Note(study_id="s")) for _ in range(3)]):
        assert next(states).seq == 3
    states.close()


def test_it_ends_after_the_timeout_without_a_word(path: Path) -> None:
    assert [state.seq for state in Brain(path).watch(timeout_s=0.1, poll_s=0.02)] == [0]


def test_what_this_process_appends_itself_counts_too(path: Path) -> None:
    brain = Brain(path)
    states = brain.watch(timeout_s=20, poll_s=0.05)
    next(states)
    brain.append(Note(study_id="s"))
    assert next(states).seq == 1
    states.close()


def test_an_exchanged_file_ends_the_watch_loudly(path: Path) -> None:
    brain = Brain(path)
    brain.append(Note(study_id="s"))
    states = brain.watch(timeout_s=20, poll_s=0.05)
    next(states)
    path.unlink()
    with pytest.raises(BrainReplaced):
        next(states)


def test_the_file_system_decides_how_to_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        "22 21 0:40 / /mnt/my\\040share rw - nfs4 server:/share rw\n"
        "23 21 0:41 / /mnt/my\\040share/local rw shared:2 - overlay overlay rw\n"
        "24 21 0:42 / /srv/me/remote rw - fuse.sshfs me@host: rw\n"
    )
    kinds = {
        "/srv/me/swarm_brain.jsonl": "ext4",
        "/mnt/my share/swarm_brain.jsonl": "nfs4",
        "/mnt/my share/local/x": "overlay",
        "/mnt/my shared/x": "ext4",
        "/srv/me/remote/x": "fuse.sshfs",
    }
    assert {path: filesystem_of(Path(path), mountinfo) for path in kinds} == kinds
    monkeypatch.delenv("SWARM_WATCH", raising=False)
    monkeypatch.setattr("swarm.brain.watch.filesystem_of", lambda path: kinds[str(path)])
    assert [sends_events(Path(path)) for path in kinds] == [True, False, True, True, False]


def test_an_unknown_method_is_a_usage_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_WATCH", "magic")
    with pytest.raises(UsageError, match="SWARM_WATCH=magic is not one of auto, inotify, poll"):
        list(Brain(path).watch(timeout_s=1))
