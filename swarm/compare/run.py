"""Makes the pairs: two `swarm up` processes with one worker each, at the same time on one device.

Each arm runs in a clone of the repository at the same commit, below `.swarm/compare/<id>/`. A clone, and not a git
worktree, because a study owns more than a checkout: the lock of the one orchestrator, worktrees named after workers,
and refs and locks in `.git` that two orchestrators would heal under each other's feet; and because a comparison that is
killed then leaves nothing in the user's `.git`. Objects are hard links, so that a clone costs little. After each pair
the arms' trial commits are brought into the user's repository, where `swarm diff` and `swarm adopt` find them.

The arms share the device through the machine's admission ledger, as any two runs do: where both fit they overlap, where
one fits they take turns, since each has one trial at a time and the queue is first come, first served.

Not promised: that the arms end with a comparison that is killed without a word (SIGKILL). They go on to their number of
trials; `swarm stop` in the arm's folder ends one.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.compare.analysis import compare, compare_pair
from swarm.compare.values import Arm, Comparison, PairResult
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator.control import Control
from swarm.orchestrator.interrupts import Interrupts
from swarm.orchestrator.opening import dated_id, require_committed, script_found
from swarm.orchestrator.worker_process import last_line
from swarm.repo import Repo
from swarm.study.options import check_proposer
from swarm.study.settings import Layout, Memory
from swarm.study.state import StudyState
from swarm.target.file import Target, load_target

POLL_S = 0.5
CLONE_LIMIT_S = 600.0
_CLEAN_EXITS = (0, 130, -signal.SIGTERM)  # ended, or stopped by a person, perhaps before it listened

Tick = Callable[[str, StudyState], None]


@dataclass(frozen=True)
class CompareOptions:
    """What `swarm compare` was asked for. `trials` is per arm and pair; `passed_on` are further flags of `swarm up`."""

    a: Arm
    b: Arm
    pairs: int = 1
    trials: int = 20
    target: str = "resnext"
    seed: int = 0
    passed_on: tuple[str, ...] = ()


def named_arm(label: str, spec: str, memory: str) -> Arm:
    """One side as the command line gives it. Raises UsageError for a memory that does not exist."""
    if memory not in get_args(Memory):
        flag = f"--memory-{label.lower()}"
        raise UsageError(f"{flag} is {memory!r}; it is one of {', '.join(get_args(Memory))}")
    return Arm(label=label, spec=spec, memory=memory)


@dataclass(frozen=True)
class Finished:
    """`stopped`: a person asked for the end; the comparison holds what there was until then."""

    comparison: Comparison
    stopped: int


def run_comparison(
    options: CompareOptions, cwd: Path, clock: Clock, say: Callable[[str], None], tick: Tick
) -> Finished:
    """Run all pairs, one after the other, and analyse them.

    `tick` gets each arm's label and study a few times a second. The first SIGINT lets both arms' running trials finish,
    the second (or SIGTERM) stops them; a pair that was cut short counts only if it is the first. Raises UsageError for
    options that make no comparison, and SwarmError when an arm cannot run or nothing was measured.
    """
    repo, target = _checked(options, cwd)
    options = replace(options, target=f"./{target.folder}")  # the same folder in each clone
    folder = Layout(root=repo.root).runtime / "compare" / dated_id(repo.root, clock)
    sides = [_Side(arm, folder, options) for arm in (options.a, options.b)]
    for side in sides:
        _clone(repo, side.root)
    say(f"Comparing A: {options.a.name} with B: {options.b.name}. Brains and logs: {folder}")
    with Interrupts(lambda control: _pass_on(control, sides)) as interrupts:
        try:
            pairs = _run_pairs(options, repo, sides, interrupts, clock, say, tick)
        finally:
            for side in sides:
                side.end()
    first = sides[0].first_study()
    if first is None:
        raise SwarmError(f"arm A ended before its study began; its log: {sides[0].log}")
    return Finished(compare(options.a, options.b, pairs, first), interrupts.count)


class _Side:
    """One arm: its clone, its brain, and the process that runs its present study."""

    def __init__(self, arm: Arm, folder: Path, options: CompareOptions) -> None:
        name = arm.label.lower()
        self.arm = arm
        self.root = folder / name
        self.brain = folder / f"{name}.jsonl"
        self.log = folder / f"{name}.log"
        self._options = options
        self._known: Brain | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._before = 0

    def start(self, seed: int, clock: Clock) -> None:
        self._known = Brain(self.brain, clock=clock)
        self._before = len(self._known.snapshot().studies)
        options = self._options
        flags = ["--workers", "1", "--trials", str(options.trials), "--target", options.target, "--seed", str(seed)]
        flags += [
            "--proposer",
            script_found(self.arm.spec),
            "--memory",
            self.arm.memory,
            "--memory-lot",
            "0",
            "--brain",
            str(self.brain),
        ]
        # Safe path: in a clone of this very project the clone's modules must not be imported in place of ours.
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "swarm", "up", *flags, *options.passed_on],
                cwd=self.root,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C arrives here once and is passed on
            )

    def study(self) -> StudyState | None:
        """The study that `start` began, as far as it is."""
        if self._known is None:
            return None
        studies = list(self._known.snapshot().studies.values())
        return studies[-1] if len(studies) > self._before else None

    def first_study(self) -> StudyState | None:
        """Of the first pair; all are alike but for their seed."""
        return next(iter(self._known.snapshot().studies.values()), None) if self._known is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        return self._process is not None and self._process.poll() not in (None, *_CLEAN_EXITS)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self) -> None:
        """Whatever happened here, no study goes on behind the person's back."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()


def _pass_on(control: Control, sides: Sequence[_Side]) -> None:
    for side in sides:
        side.signal(signal.SIGINT if control is Control.DRAIN else signal.SIGTERM)


def _run_pairs(
    options: CompareOptions,
    repo: Repo,
    sides: Sequence[_Side],
    interrupts: Interrupts,
    clock: Clock,
    say: Callable[[str], None],
    tick: Tick,
) -> list[PairResult]:
    pairs: list[PairResult] = []
    for number in range(options.pairs):
        say(f"Pair {number + 1} of {options.pairs}, seed {options.seed + number}")
        pair = _run_pair(sides, options.seed + number, interrupts, clock, tick)
        for side in sides:
            _bring_home(repo, side.root)
        if pair is not None and not (interrupts.count and pairs):
            pairs.append(pair)
        if interrupts.count:
            break
    return pairs


def _run_pair(sides: Sequence[_Side], seed: int, interrupts: Interrupts, clock: Clock, tick: Tick) -> PairResult | None:
    for side in sides:
        side.start(seed, clock)
    if interrupts.count:
        _pass_on(Control.NOW, sides)
    while any(side.running for side in sides):
        _show(sides, tick)
        _require_working(sides)
        clock.sleep(POLL_S)
    _show(sides, tick)
    _require_working(sides)
    studies = [side.study() for side in sides]
    if studies[0] is None or studies[1] is None:
        return None
    return compare_pair(studies[0], studies[1])


def _require_working(sides: Sequence[_Side]) -> None:
    """Raises SwarmError with the last words of an arm that ended in an error; whoever catches it ends the other."""
    for side in sides:
        if side.failed:
            arm = side.arm
            raise SwarmError(f"arm {arm.label} ({arm.spec}) ended: {last_line(side.log)}. Log: {side.log}")


def _show(sides: Sequence[_Side], tick: Tick) -> None:
    for side in sides:
        study = side.study()
        if study is not None:
            tick(side.arm.label, study)


def _checked(options: CompareOptions, cwd: Path) -> tuple[Repo, Target]:
    """Everything that can be said before the first clone."""
    for flag, value, most in (("--pairs", options.pairs, 1000), ("--trials", options.trials, 100_000)):
        if not 1 <= value <= most:
            raise UsageError(f"{flag} is {value}, and must lie between 1 and {most}")
    for arm in (options.a, options.b):
        check_proposer(arm.spec)
        script_found(arm.spec)
    if {options.a.memory, options.b.memory} == {"shared", "own"}:
        raise UsageError("each arm has one worker, so shared and own memory are the same; compare with off or shuffled")
    repo = Repo.open(cwd)
    target = load_target(options.target, repo.root)
    require_committed(repo, target)
    return repo, target


def _clone(repo: Repo, root: Path) -> None:
    """At the commit that is checked out, without its branches, hooks or remote."""
    root.parent.mkdir(parents=True, exist_ok=True)
    git = replace(repo.git, timeout_s=CLONE_LIMIT_S)
    git("clone", "--quiet", "--local", "--no-tags", "--no-checkout", str(repo.root), str(root))
    own = replace(git, folder=root)
    own("checkout", "--quiet", "--detach", repo.head())


def _bring_home(repo: Repo, root: Path) -> None:
    """The arm's trial commits and their refs, by plumbing: `git fetch` would overwrite the user's FETCH_HEAD."""
    clone = replace(repo.git, folder=root)
    lines = clone.line("for-each-ref", "--format=%(refname) %(objectname)", "refs/swarm/").splitlines()
    names = "".join(f"{line.split()[0]}\n" for line in lines)
    if names:
        repo.git("fetch-pack", "--quiet", "--stdin", str(root), stdin=names.encode())
        repo.git("update-ref", "--stdin", stdin="".join(f"update {line}\n" for line in lines).encode())
