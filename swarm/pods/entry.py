"""What a pod runs first: the watchdog, then the study.

    python -m swarm.pods.entry [WORDS]    or the archive of `swarm.pods.inside.seed`, which is the same

It reads SWARM_POD_ORDER, or WORDS as in `swarm.pods.inside.asked`, works in SWARM_POD_HOME, and may be killed and
started again at any line: a study that has begun goes on, one that has ended is not begun again, and the pod's time is
counted from its first start.

Exit code: that of `swarm up`; 1 where it could not be started, 2 for an order that cannot be read.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from swarm.pods.inside import leave
from swarm.pods.inside.asked import order_text
from swarm.pods.inside.chores import module_command
from swarm.pods.inside.code import NoCode, awaited, run_logged, set_up, study_environment, unpack
from swarm.pods.inside.home import Home, read_json, text, write_json
from swarm.pods.inside.life import PodClock
from swarm.pods.inside.oom import BEFORE_OTHERS, expose
from swarm.pods.inside.processes import alive, kill_study, written_down
from swarm.pods.inside.research import Research
from swarm.pods.inside.rules import closing_s
from swarm.pods.inside.shell import open_shell
from swarm.pods.inside.told import ORDER_VARIABLE, BadOrder, Order, home_of, order_here
from swarm.sandbox.libc import PR_SET_DUMPABLE, prctl
from swarm.supervisor import proc

POLL_S = 0.3
WATCHDOG_TRIES = 3  # of one that is killed as it begins
WATCHDOG_LIMIT_S = 20.0  # to be there; without one nothing is started
RESUMES = 5  # of a study that was killed, in one life of this process
LAST_STAGES = ("closing", "over")  # the provider has said yes, or nobody is asked any more
LEAVE_TRIES = 20
LEAVE_PAUSE_S = 5.0


@dataclass(slots=True)
class Entry:
    """One life of the entry script."""

    home: Home
    order: Order
    environment: Mapping[str, str] = field(repr=False)
    _study: "subprocess.Popen[bytes] | None" = None
    _watchdog: "subprocess.Popen[bytes] | None" = None
    _told_to_stop: bool = False

    def run(self) -> int:
        self.home.make()
        self._note()
        self._begin_watchdog()
        if self._is_ending():
            return self._wait_for_the_end(1)
        signal.signal(signal.SIGTERM, self._on_term)
        open_shell(self.home, self.environment)
        try:
            python = self._prepared()
            code = self._run_study(python)
        except NoCode as problem:
            self.home.say("entry", str(problem))
            self._note(phase="over", failed=str(problem)[:300])
            return self._wait_for_the_end(1)
        if self._told_to_stop:
            return code  # whoever stopped the container starts it again, or not: the study can go on
        self._note(phase="over", exit_code=code)
        return self._wait_for_the_end(code)

    def _prepared(self) -> str:
        """The interpreter, when the code is there and everything is installed."""
        clock = PodClock()
        if self.order.source.kind == "bundle" and not (self.home.repo / ".git").is_dir():
            self._note(phase="waiting")
            awaited(self.home, self.order, clock, self._goes_on)
        self._note(phase="setting_up")
        run = run_logged(self.home.log("entry"), self._begin_watchdog)
        environment = study_environment(self.home, self.environment)
        unpack(self.home, self.order, run, environment)
        if "brain_bytes" not in read_json(self.home.entry):
            self._note(brain_bytes=self.home.brain.stat().st_size if self.home.brain.exists() else 0)
        python = set_up(self.home, run, environment)
        self._note(python=python)
        return python

    def _goes_on(self) -> bool:
        """Whether anybody waits for a study; watched meanwhile."""
        self._begin_watchdog()
        return not self._is_ending() and not self._told_to_stop

    def _run_study(self, python: str) -> int:
        """Its exit code. One that a signal ended is gone on with, unless the pod ends. One that an entry script left
        running when it was killed goes on to its end, and what `--resume` finds then to do is little."""
        code = 1
        self._wait_for_study()
        for _ in range(RESUMES + 1):
            if self._is_ending() or self._told_to_stop:
                return code
            code = self._run_once(python)
            self.home.say("entry", f"swarm up ended with {code}")
            if code >= 0:
                return code
        return code

    def _run_once(self, python: str) -> int:
        words = up_words(self.order, resumable=self._resumable(), hours_left=self._hours_left())
        self.home.say("entry", "swarm up " + " ".join(words))
        with self.home.log("study").open("ab") as log:
            self._study = subprocess.Popen(
                [python, "-m", "swarm", "up", *words],
                cwd=self.home.repo, env=study_environment(self.home, self.environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        expose(self._study.pid, BEFORE_OTHERS)
        self._note(phase="running", **written_down("up", self._study.pid))
        self._wait_for_study()
        return self._study.wait()

    def _wait_for_study(self) -> None:
        while alive(read_json(self.home.entry), "up"):
            self._begin_watchdog()
            time.sleep(POLL_S)

    def _resumable(self) -> bool:
        """Whether a study of this pod has begun that `--resume` finds."""
        fields = read_json(self.home.entry)
        before = fields.get("brain_bytes")
        research = Research(self.home.brain, before if isinstance(before, int) else 0)
        research.look()
        return research.has_trials

    def _hours_left(self) -> float:
        """Until no trial should start any more, by what the watchdog has published last."""
        ends_at = read_json(self.home.state).get("ends_at")
        left_s = ends_at - time.time() if isinstance(ends_at, float) else self.order.paid_s
        return max(left_s - closing_s(self.order), 1.0) / 3600

    def _begin_watchdog(self) -> None:
        """Returns when one is there, or when that of this life has ended the pod. Raises NoCode: a study that nobody
        ends is not started."""
        announced = self.home.root / "watchdog.json"
        _end_stopped(read_json(announced))
        if alive(read_json(announced), "pid") or (self._watchdog is not None and self._watchdog.poll() == 0):
            return
        for _ in range(WATCHDOG_TRIES):
            code = self._watchdog_begun(announced)
            if code in (None, 0):
                return
            if code is not None and code > 0:
                break
        raise NoCode(f"the watchdog ended with {code}: see log/watchdog.log")

    def _watchdog_begun(self, announced: Path) -> int | None:
        """None when it is there; else its exit code, negative for one that a signal ended."""
        with self.home.log("watchdog").open("ab") as log:
            self._watchdog = subprocess.Popen(
                module_command("swarm.pods.inside.watchdog"), cwd=self.home.root, env=dict(self.environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + WATCHDOG_LIMIT_S
        while (code := self._watchdog.poll()) is None and not alive(read_json(announced), "pid"):
            if time.monotonic() > deadline:
                raise NoCode(f"the watchdog did not begin within {WATCHDOG_LIMIT_S:.0f} s: see log/watchdog.log")
            time.sleep(0.05)
        return code

    def _is_ending(self) -> bool:
        return bool(read_json(self.home.ending))

    def _wait_for_the_end(self, code: int) -> int:
        """The watchdog sees to the rest; when it is done, or nobody can start one, this process ends."""
        while text(read_json(self.home.ending), "stage") not in LAST_STAGES:
            self._begin_watchdog()
            time.sleep(POLL_S)
        return code

    def _note(self, **fields: object) -> None:
        """What is done now, for the watchdog. `brain_bytes` stays what it was."""
        known = read_json(self.home.entry)
        write_json(self.home.entry, {**known, **written_down("pid", os.getpid()), **fields})

    def _on_term(self, *_: int | FrameType | None) -> None:
        """The container is stopped: the study at once, in order."""
        self._told_to_stop = True
        entry = read_json(self.home.entry)
        if alive(entry, "up") and isinstance(pid := entry.get("up"), int):
            os.kill(pid, signal.SIGTERM)


def _end_stopped(watchdog: dict[str, object]) -> None:
    """A watchdog that somebody has stopped ends no pod: it goes, and another one takes its place."""
    pid = watchdog.get("pid")
    if isinstance(pid, int) and alive(watchdog, "pid") and proc.is_stopped(pid):
        os.kill(pid, signal.SIGKILL)
        while alive(watchdog, "pid"):
            time.sleep(0.05)


def up_words(order: Order, *, resumable: bool, hours_left: float) -> list[str]:
    """The words after `swarm up`. A study knows when the pod ends, so that its own end comes before."""
    words = ["--resume"] if resumable else list(order.up)
    if "--hours" not in words and not resumable:
        words += ["--hours", f"{hours_left:.4f}"]
    return words


def main(words: Sequence[str] = ()) -> int:
    home = Home(home_of(os.environ))
    with contextlib.suppress(OSError):
        prctl(PR_SET_DUMPABLE, 0)  # its environment holds the key of the pod: closed to the programs that run here
    try:
        home.make()
        with (home.root / "entry.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _begin(home, words)
    except BlockingIOError:
        print(f"swarm: {home.root} has an entry script already", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"swarm: {home.root} is of no use: {problem}. Nothing is started, the pod is ended.", file=sys.stderr)
        return _leave_at_once(home)


def _begin(home: Home, words: Sequence[str]) -> int:
    try:
        if words:
            os.environ[ORDER_VARIABLE] = order_text(words, home, time.time())
        order = order_here()
    except BadOrder as problem:
        home.say("entry", str(problem))
        print(f"swarm: {problem}. Nothing is started, the pod is ended.", file=sys.stderr)
        return _leave_at_once(home)
    try:
        return Entry(home, order, dict(os.environ)).run()
    except NoCode as problem:
        home.say("entry", str(problem))
        kill_study(home)
        return _leave_at_once(home)


def _leave_at_once(home: Home) -> int:
    """Without a watchdog: a pod that can do nothing must not be paid for."""
    for _ in range(LEAVE_TRIES):
        if (code := leave.leave(os.environ, keep_disk=False)) in (0, leave.NOT_RENTED):
            return 2
        home.say("entry", f"the provider has not said yes ({code})")
        time.sleep(LEAVE_PAUSE_S)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
