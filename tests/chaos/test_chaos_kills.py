"""kill -9, hundreds of times: whatever is killed wherever it is, nothing that was acknowledged is lost.

    CHAOS_KILLS=500 CHAOS_SEED=1 pytest -n 0 -m chaos -s tests/chaos/test_chaos_kills.py

Five in six kills meet the toys, the sixth whole studies. The seed is printed; the moments of the kills also depend on
the machine.
"""

import os
import random
import select
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import failpoints
from fakes.fake_worker import ask, litter
from fakes.toy_swarm import STUDY, ToySwarm, phases, supervisors

from swarm.brain import read_records, verify
from swarm.records import ProposalClaimed, TrialFinished, TrialStarted
from swarm.repo import Repo
from swarm.study.overlap import overlapping_pairs
from swarm.supervisor import kill_leftovers

KILLS = int(os.environ.get("CHAOS_KILLS", "500"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
IN_STUDIES = KILLS // 6
OF_TOYS = KILLS - IN_STUDIES
ROUNDS = 4  # for two workers to be seen at once

WORKERS = ("worker_1", "worker_2")
PATIENCE_S = 2.0  # with a worker that does not come to its failpoint
NAMES = tuple(failpoints.names("brain", "admission", "repo", "execution/runner.py", "supervisor"))
NEVER = frozenset(
    name for name in NAMES if name.startswith(("worktree.", "heal.", "incident.", "history.", "heartbeat.", "torn."))
)
"""What a toy does not do, or only after something else; `*` may still meet it."""


@dataclass
class Fighter:
    """A worker under fire. `failpoint` is empty when it dies by a random kill, or when somebody has died there."""

    pid: int
    failpoint: str
    latch: Path
    born: float

    @property
    def is_fair_game(self) -> bool:
        return self.failpoint == "" or time.monotonic() - self.born > PATIENCE_S


class Chaos:
    """Two workers under fire. Each gets a failpoint to die at, or is killed at a moment drawn by chance."""

    def __init__(self, swarm: ToySwarm, chance: random.Random) -> None:
        self.swarm, self.chance = swarm, chance
        self.killed: Counter[str] = Counter()
        self.workers: dict[str, Fighter] = {}
        self.sent = 0
        self.deck: list[str] = []
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.acknowledged: list[str] = []

    def until(self, kills: int) -> None:
        while self.killed.total() < kills:
            for agent in WORKERS:
                self._tend(agent)
            self._strike()
            self._listen()

    def settle(self) -> None:
        """The last workers, whom nobody kills: they end what is left, and run two trials each. On a busy machine short
        trials may miss each other, so they have some rounds of it."""
        for fighter in self.workers.values():
            os.kill(fighter.pid, signal.SIGKILL)
            os.waitpid(fighter.pid, 0)
        before = set(self.swarm.study().trials)
        for _ in range(ROUNDS):
            pids = [self.swarm.start(agent, self.writing, trials=2) for agent in WORKERS]
            ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            self._listen()
            logs = "".join((self.swarm.folder / f"{agent}.log").read_text()[-2000:] for agent in WORKERS)
            assert ends == [0, 0], logs
            after = [trial for name, trial in self.swarm.study().trials.items() if name not in before]
            if any(overlapping_pairs(after)):
                return

    def close(self) -> None:
        for fighter in self.workers.values():
            try:
                os.kill(fighter.pid, signal.SIGKILL)
                os.waitpid(fighter.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        for folder in self.swarm.trials.iterdir():
            kill_leftovers(folder)
        os.close(self.reading)
        os.close(self.writing)

    def _tend(self, agent: str) -> None:
        fighter = self.workers.get(agent)
        if fighter is None:
            return self._send(agent)
        ended, status = os.waitpid(fighter.pid, os.WNOHANG)
        at_failpoint = fighter.failpoint != "" and fighter.latch.exists()
        if at_failpoint:  # it died there, or one of its supervisors did
            self.killed[f"at {fighter.failpoint.partition(':')[0]}"] += 1
            fighter.failpoint = ""
        if not ended:
            return None
        code = os.waitstatus_to_exitcode(status)
        log = (self.swarm.folder / f"{agent}.log").read_text()[-2000:]
        # A supervisor that was killed before anybody could find it is a failed set-up: the worker says so and ends.
        assert code == -signal.SIGKILL or "did not start" in log, f"{agent} ended with {code}: {log}"
        if not at_failpoint:
            self.killed["worker" if code == -signal.SIGKILL else "supervisor"] += 1
        self._send(agent)

    def _send(self, agent: str) -> None:
        self.sent += 1
        latch, failpoint = self.swarm.folder / f"latch{self.sent}", self._failpoint()
        pid = self.swarm.start(agent, self.writing, failpoint=failpoint, latch=latch)
        self.workers[agent] = Fighter(pid, failpoint, latch, time.monotonic())

    def _failpoint(self) -> str:
        draw = self.chance.random()
        if draw < 0.6:
            return f"{self._next_place()}:kill"
        if draw < 0.9:
            return f"*:kill:{self.chance.randint(1, 120)}"
        return ""

    def _next_place(self) -> str:
        """Each comes up as often as any other, in an order drawn by chance."""
        if not self.deck:
            self.deck = [name for name in NAMES if name not in NEVER]
            self.chance.shuffle(self.deck)
        return self.deck.pop()

    def _strike(self) -> None:
        """A pause, then perhaps somebody who was not told where to die."""
        time.sleep(self.chance.uniform(0.0, 0.08))
        draw = self.chance.random()
        if draw < 0.05:
            self._kill_one("supervisor", supervisors(self.swarm))
        elif draw < 0.12:
            self._kill_one("phase", phases(self.swarm))
        elif draw < 0.3:
            agent = self.chance.choice(WORKERS)
            if self.workers[agent].is_fair_game:
                os.kill(self.workers[agent].pid, signal.SIGKILL)

    def _kill_one(self, kind: str, pids: list[int]) -> None:
        if pids:
            try:
                os.kill(self.chance.choice(pids), signal.SIGKILL)
                self.killed[kind] += 1
            except ProcessLookupError:
                pass

    def _listen(self) -> None:
        while select.select([self.reading], [], [], 0)[0]:
            self.acknowledged += os.read(self.reading, 1 << 16).decode().split()


@pytest.mark.parametrize("kills", [6, pytest.param(OF_TOYS, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])])
def test_nothing_is_lost_whoever_is_killed_wherever(tmp_path: Path, kills: int) -> None:
    print(f"\n{kills} kills of toys, CHAOS_SEED={SEED}")
    swarm, chance = ToySwarm(tmp_path), random.Random(SEED)
    before = swarm.repo.fingerprint()
    chaos = Chaos(swarm, chance)
    try:
        chaos.until(kills)
        claimed = set(swarm.study().trials)
        chaos.settle()
        print(", ".join(f"{count} {what}" for what, count in sorted(chaos.killed.items())))
        each_trial_has_one_ending(swarm)
        each_acknowledged_ending_is_there_once(swarm, chaos.acknowledged)
        nothing_is_left(swarm)
        the_users_repository_is_as_it_was(swarm, before)
        two_workers_run_at_once_again(swarm, claimed)
    finally:
        chaos.close()


def each_trial_has_one_ending(swarm: ToySwarm) -> None:
    records = list(read_records(swarm.brain))
    claims = Counter(record.trial_id for record in records if isinstance(record, ProposalClaimed))
    endings = Counter(record.trial_id for record in records if isinstance(record, TrialFinished))
    starts = Counter(record.trial_id for record in records if isinstance(record, TrialStarted))
    assert claims == endings
    assert set(claims.values()) == {1}
    assert starts.keys() <= claims.keys()
    report = verify(swarm.brain)
    assert report.ok and not report.torn_bytes, str(report)


def each_acknowledged_ending_is_there_once(swarm: ToySwarm, acknowledged: list[str]) -> None:
    ids = Counter(record.id for record in read_records(swarm.brain))
    assert len(set(acknowledged)) >= 4
    assert [name for name in acknowledged if ids[f"{STUDY}/{name}/finished"] != 1] == []


def nothing_is_left(swarm: ToySwarm) -> None:
    assert {folder.name: kill_leftovers(folder) for folder in swarm.trials.iterdir()} == {
        folder.name: [] for folder in swarm.trials.iterdir()
    }
    swarm.admission().request(ask("all", 9_000)).withdraw()  # whoever looks next removes what the dead have left
    assert litter(swarm.ledger) == []
    runtime = swarm.repo.root / ".swarm"
    for index in runtime.glob("index-*"):
        os.utime(index, (0, 0))  # a minute later
    Repo.open(swarm.repo.root).heal()
    assert list(runtime.glob("index-*")) == []
    assert list((swarm.repo.root / ".git").rglob("*.lock")) == [swarm.repo.root / ".git" / "swarm.lock"]
    assert list(swarm.repo.root.rglob(".*.json.*")) == []


def the_users_repository_is_as_it_was(swarm: ToySwarm, before: tuple[object, ...]) -> None:
    assert theirs(swarm.repo.fingerprint()) == theirs(before)
    assert "missing" not in swarm.repo.git("fsck", "--no-dangling")


def theirs(fingerprint: tuple[object, ...]) -> tuple[object, ...]:
    *facts, files = fingerprint
    assert isinstance(files, dict)
    return (*facts, {path: what for path, what in files.items() if not path.name.startswith("swarm_brain")})


def two_workers_run_at_once_again(swarm: ToySwarm, before: set[str]) -> None:
    after = [trial for name, trial in swarm.study().trials.items() if name not in before]
    assert {trial.claim.agent_id for trial in after} == set(WORKERS)
    assert list(overlapping_pairs(after))
