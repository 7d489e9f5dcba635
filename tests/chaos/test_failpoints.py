"""Where a step of ours may be killed: every durable step has failpoints, and each of them does what it is told."""

import errno
import os
import re
import signal
import time
from pathlib import Path

import pytest
from fakes import failpoints
from fakes.fake_worker import in_a_child

from swarm import failpoints as live
from swarm.failpoints import failpoint, for_child

BETWEEN = {
    "brain/blackboard.py:_write": "append.* in what it calls",
    "brain/disk.py:truncate": "one system call; torn.* and append.* in its callers",
    "brain/disk.py:sync": "one system call; append.* in its callers",
    "brain/lock.py:_acquired": "lock.before and lock.after in its caller",
    "brain/lock.py:_wait_for": "lock.before and lock.after in its caller",
    "repo/git.py:_run": "one call of git; whoever asks git has failpoints before and after",
    "repo/merging.py:_merge_file": "a temporary folder that nobody else looks into",
    "repo/findings.py:pushed": "a temporary repository; the remote's git takes a push whole or not at all",
    "repo/runtime.py:make_runtime": "a constant text, written again by whoever finds none",
    "repo/secret.py:_key": "before there is a study; a whole key is linked or none, and a draft has a name of its own",
    "repo/taking.py:_made": "a constant text, written again before each fetch",
    "repo/worktrees.py:_fill": "worktree.after_add and worktree.after_fill in its caller",
    "execution/graded.py:_write": "trial.before_folder and trial.after_folder around its caller",
    "execution/graded.py:lay_out_graded": "trial.before_folder and trial.after_folder in its caller",
    "execution/phases.py:lay_out": "trial.before_folder and trial.after_folder in its caller",
    "supervisor/__main__.py:_fork_into_session": "before anything of the trial exists",
    "supervisor/child.py:_limit": "a limit of the process itself, gone with it",
    "supervisor/logfile.py:_trim": "a log",
    "supervisor/run.py:_run_phases": "for the next phase of the same process, and gone with it",
    "supervisor/zygote.py:_spawn": "zygote.before_start and zygote.after_start in its caller",
    "supervisor/zygote_server.py:_listen": "in the zygote, which has no such environment; killed at random instead",
    "supervisor/zygote_server.py:_serve": "in the zygote, which has no such environment; killed at random instead",
    "orchestrator/control.py:orchestrator_runs": "a question: the lock is free again when it is answered",
    "orchestrator/preparing.py:_locked": "before there is a study; the kernel frees the lock",
    "orchestrator/preparing.py:_made": "before there is a study; in another folder, and named whole by its hash, last",
    "orchestrator/preparing.py:_run": "before there is a study; what it leaves is not yet taken",
    "orchestrator/data.py:prepare_data": "a process of its own, before there is a study; whole folders are replaced",
}
"""Functions with durable steps whose failpoints stand elsewhere, and where."""


def test_every_durable_step_has_a_failpoint_before_and_after_it() -> None:
    assert {place: what for place, what in failpoints.bare_steps().items() if place not in BETWEEN} == {}
    assert BETWEEN.keys() <= failpoints.bare_steps().keys(), "listed, but it has failpoints of its own now, or is gone"


def test_a_durable_step_without_one_is_found() -> None:
    import ast

    def bare(*lines: str) -> list[str]:
        tree = ast.parse("def save(path):\n" + "".join(f"    {line}\n" for line in lines))
        function = tree.body[0]
        assert isinstance(function, ast.FunctionDef)
        return list(failpoints.bare_steps_of(function))

    step, before, after = "path.replace(other)", "failpoint('a.before')", "failpoint('a.after')"
    assert bare(before, step, after) == []
    assert bare(step, after) == [".replace: nothing before it"]
    assert bare(before, step) == [".replace: nothing after it"]
    assert bare("os.fsync(fd)") == ["os.fsync: nothing before it", "os.fsync: nothing after it"]
    assert bare("git('update-ref', ref)")[0] == "git update-ref: nothing before it"
    assert bare("text.replace('a', 'b')", "dict(a=1)") == []


def test_names_say_where_they_stand() -> None:
    found = failpoints.names()
    assert len(found) > 80
    assert [name for name in found if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)] == []


def told(wanted: str, *passages: str, latch: Path | None = None) -> int:
    """How a process ends that passes these places under SWARM_FAILPOINT=wanted."""

    def action() -> None:
        os.environ["SWARM_FAILPOINT"] = wanted
        if latch is not None:
            os.environ["SWARM_FAILPOINT_LATCH"] = str(latch)
        for name in passages:
            failpoint(name)

    return in_a_child(action)


def test_a_failpoint_kills_fails_or_waits_at_its_place_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told("a.one:kill", "a.two", "a.one") == -signal.SIGKILL
    assert told("a.one:error", "a.one") == 3
    assert told("a.one:kill", "a.two") == 0
    monkeypatch.setattr(live, "SLEEP_S", 0.1)
    began = time.monotonic()
    assert told("a.one:sleep", "a.one") == 0
    assert time.monotonic() - began > 0.1


def test_it_can_wait_for_a_passage_and_take_any_place() -> None:
    assert told("a.one:kill:3", "a.one", "a.one") == 0
    assert told("a.one:kill:3", "a.one", "a.one", "a.two", "a.one") == -signal.SIGKILL
    assert told("*:kill:2", "a.one") == 0
    assert told("*:kill:2", "a.one", "a.two") == -signal.SIGKILL


def test_of_all_processes_one_takes_the_latch(tmp_path: Path) -> None:
    latch = tmp_path / "latch"
    assert told("a.one:kill", "a.one", latch=latch) == -signal.SIGKILL
    assert told("a.one:kill", "a.one", latch=latch) == 0


def test_an_error_is_one_of_the_disk_and_a_wrong_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(wanted: str) -> BaseException:
        monkeypatch.setenv("SWARM_FAILPOINT", wanted)
        with pytest.raises((OSError, ValueError)) as caught:
            failpoint("a.one")
        return caught.value

    error = raised("a.one:error")
    assert isinstance(error, OSError) and error.errno == errno.EIO
    assert "explode" in str(raised("a.one:explode"))


def test_a_child_that_is_started_by_itself_gets_them_and_nothing_else() -> None:
    assert for_child({"SWARM_FAILPOINT": "a:kill", "OPENAI_API_KEY": "secret"}) == {"SWARM_FAILPOINT": "a:kill"}


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWARM_FAILPOINT", raising=False)
    failpoint("a.one")
