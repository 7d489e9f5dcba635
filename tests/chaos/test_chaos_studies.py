"""Whole studies under fire: `swarm up` as a person runs it, kills of each kind of process, a model that tells its key.

    CHAOS_KILLS=500 CHAOS_SEED=1 pytest -n 0 -m chaos -s tests/chaos/test_chaos_studies.py

A sixth of the kills of `test_chaos_kills.py`. Beside its invariants: the canary, a key in the orchestrator's
environment, is in no file that the studies leave.
"""

import base64
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from fakes import failpoints
from fakes.fake_llm import FakeLLM, Request, completion, envelope
from fakes.tiny_study import SWARM, TinyStudy, make_tiny_study, stopped_at_the_end

from swarm.drill import canary
from swarm.records import TrialState
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import StudyState

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("CHAOS_KILLS", "500")) // 6
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
CANARY = "sk-canary-7f+Q/2b9d41c6a8e035f7"

KINDS = ("worker", "supervisor", "training", "zygote")
A_LIFE = 7  # kills before the orchestrator itself goes
WORKERS_A_LIFE = 3  # a worker that dies six times in ten minutes is given up


class Siege:
    """One repository, and one orchestrator after the other in it."""

    def __init__(self, tiny: TinyStudy, chance: random.Random, *proposer: str) -> None:
        self.tiny, self.chance = tiny, chance
        self.options = ("--target", "tiny", "--data", "standin", "--device", "cpu", "--no-early-stop", *proposer)
        self.killed: Counter[str] = Counter()

    def up(self, *arguments: str, **extra: str) -> "subprocess.Popen[str]":
        with (self.tiny.ledger.parent / "up.log").open("a") as log:
            return subprocess.Popen(
                [SWARM, "up", *self.options, *arguments],
                cwd=self.tiny.root,
                env=self.tiny.environment(OPENAI_API_KEY=CANARY, **extra),
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def last_words(self) -> str:
        """Of the orchestrator that runs."""
        return (self.tiny.ledger.parent / "up.log").read_text().rpartition("Study ")[2][-6000:]

    def life(self, kills: int, *arguments: str) -> None:
        """One orchestrator, from its start to its death; `kills` with its own."""
        up = self.up(*arguments)
        with stopped_at_the_end(up):
            self.wait(up, lambda study: study.baseline is not None and len(study.baseline.costs) >= 3)
            workers = 0
            for _ in range(kills - 1):
                time.sleep(self.chance.uniform(0.2, 1.2))
                kind = self.chance.choice(KINDS[workers >= WORKERS_A_LIFE :])
                workers += kind == "worker"
                self.kill_one(kind, up)
            assert up.poll() is None, self.last_words()
            os.kill(up.pid, signal.SIGKILL)
            up.wait()
            self.killed["orchestrator"] += 1

    def kill_one(self, kind: str, up: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert up.poll() is None, self.last_words()
            if kind == "zygote" and "start cold" in self.last_words():
                kind = "supervisor"  # it was killed while it started, and this orchestrator goes on without one
            pids = self.pids(kind)
            with suppress(ProcessLookupError, IndexError):
                os.kill(self.chance.choice(pids), signal.SIGKILL)
                self.killed[kind] += 1
                return
            time.sleep(0.05)
        raise AssertionError(f"no {kind} to kill in 180 s: {self.last_words()}")

    def pids(self, kind: str) -> list[int]:
        match kind:
            case "worker":
                return self.tiny.pids("--agent-id")
            case "zygote":
                return self.tiny.pids("zygote_server")
        found = []
        for path in self.tiny.root.glob(".swarm/trials/*/*/supervisor.json"):
            with suppress(OSError, ValueError, psutil.Error):
                process = psutil.Process(json.loads(path.read_text())["pid"])
                if (path.with_name("result.json")).exists() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                found += [process.pid] if kind == "supervisor" else [child.pid for child in process.children()]
        return found

    def wait(self, up: "subprocess.Popen[str]", condition, limit_s: float = 300) -> StudyState:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            assert up.poll() is None, self.last_words()
            opened = self.tiny.brain.exists() and b"study_opened" in self.tiny.brain.read_bytes()
            if opened and condition(study := self.tiny.study()):
                return study
            time.sleep(0.1)
        raise AssertionError(self.last_words())

    def peace(self, *arguments: str) -> None:
        """The last orchestrator, whom nobody disturbs."""
        up = self.up("--resume", *arguments)
        with stopped_at_the_end(up):
            assert up.wait(600) == 0, self.last_words()


def all_is_well(siege: Siege, before: tuple[object, ...]) -> None:
    tiny = siege.tiny
    lines = [json.loads(line) for line in tiny.brain.read_text().splitlines()]
    claims = Counter(line["trial_id"] for line in lines if line["kind"] == "proposal_claimed")
    endings = Counter(line["trial_id"] for line in lines if line["kind"] == "trial_finished")
    assert claims == endings and set(claims.values()) == {1}
    ids = Counter(line["id"] for line in lines)
    assert [name for name, count in ids.items() if count > 1] == []
    assert tiny.swarm("verify").returncode == 0
    assert tiny.processes() == []
    assert tiny.held_leases() == []
    assert [path.name for path in (tiny.root / ".swarm" / "worktrees").glob("*")] == []
    assert [path for path in tiny.root.rglob(".*.json.*") if ".git" not in path.parts] == []
    assert users(tiny.repo.fingerprint()) == users(before)
    assert canary.find(CANARY, tiny.root.parent) == []


def users(fingerprint: tuple[object, ...]) -> tuple[object, ...]:
    *facts, status, files = fingerprint
    assert isinstance(files, dict) and isinstance(status, str)
    mine = {path: what for path, what in files.items() if not path.name.startswith("swarm_brain")}
    return (*facts, [line for line in status.splitlines() if "swarm_brain" not in line], mine)


def test_studies_under_fire_lose_nothing(tmp_path: Path) -> None:
    print(f"\n{KILLS} kills in whole studies, CHAOS_SEED={SEED}")
    tiny = make_tiny_study(tmp_path, samples=12_000)
    before = tiny.repo.fingerprint()
    siege = Siege(tiny, random.Random(SEED), "--proposer", "tpe")
    resume: tuple[str, ...] = ()
    while (left := KILLS - siege.killed.total()) > 0:
        siege.life(min(left, A_LIFE + 1), *resume)
        resume = ("--resume",)
    seen = set(tiny.study().trials)
    siege.peace("--trials", str(len(seen) + 8))
    print(", ".join(f"{count} {kind}" for kind, count in sorted(siege.killed.items())))
    after = [trial for name, trial in tiny.study().trials.items() if name not in seen]
    assert {trial.claim.agent_id for trial in after} == {"worker_1", "worker_2"}
    assert list(overlapping_pairs(after))
    all_is_well(siege, before)


ELSEWHERE = (
    "control.before_word",
    "control.after_word",
    "settings.replaced",
    "audit.before_append",
    "audit.after_append",
)
"""Passed when a person stops a study, resumes one or has a result checked: by no study that goes by itself."""
STUDY_ONLY = (
    *(name for name in failpoints.names("orchestrator") if name not in ELSEWHERE),
    *(*failpoints.names("execution"), "torn.after_copy", "heal.after"),
)
SOME = (
    "append.after_sync",
    "worktree.after_add",
    "worktree.removed_a_part",
    "heartbeat.after_record",
    "history.before_write",
)


@pytest.mark.parametrize("name", dict.fromkeys((*STUDY_ONLY, *SOME)))
def test_a_study_that_dies_at_a_failpoint_goes_on(tmp_path: Path, name: str) -> None:
    """One death at each failpoint that the toys do not come to: of the orchestrator, or of one of its workers."""
    tiny = make_tiny_study(tmp_path)
    before = tiny.repo.fingerprint()
    siege, latch = Siege(tiny, random.Random(SEED), "--proposer", "tpe"), tmp_path / "latch"
    torn = {"torn.after_copy": b'{"v":1,"seq":1,"id":"to'}.get(name)
    if torn is not None:
        tiny.brain.write_bytes(torn)
    up = siege.up("--trials", "7", SWARM_FAILPOINT=f"{name}:kill", SWARM_FAILPOINT_LATCH=str(latch))
    with stopped_at_the_end(up):
        code = up.wait(300)
    assert latch.exists(), f"nobody passed {name}: {siege.last_words()}"
    assert code in (0, -signal.SIGKILL), siege.last_words()
    resume = ("--resume",) if tiny.brain.exists() and b"study_opened" in tiny.brain.read_bytes() else ()
    up = siege.up(*resume, "--trials", "8")
    with stopped_at_the_end(up):
        assert up.wait(600) == 0, siege.last_words()
    assert all(trial.state is TrialState.COMPLETE for trial in tiny.study().trials.values())
    all_is_well(siege, before)


def indiscreet(request: Request) -> object:
    """A real edit whose every text holds the key, each time in another spelling."""
    number = len(request.prompt)
    raw = CANARY.encode()
    spelt = [
        CANARY,
        CANARY[::-1],
        raw.hex(),
        base64.b64encode(raw).decode(),
        "".join(f"\\x{byte:02x}" for byte in raw),
        "".join(f"\\u{byte:04x}" for byte in raw),
        "".join(f"%{byte:02X}" for byte in raw),
    ][number % 7]
    rate = f"{0.01 + number % 97 / 1000:.4f}"
    edit = envelope(
        "MAX_LR = 0.05  # search: log(1e-3, 1.0)",
        f'MAX_LR = {rate}  # search: log(1e-3, 1.0)\nNOTE = "{spelt}"',
        hypothesis=f"use {spelt}",
        family=spelt[:20],
    )
    return completion(edit) if number % 3 else completion(f"I was given {spelt}")


def test_a_key_that_a_model_repeats_in_every_spelling_is_nowhere(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path)
    before = tiny.repo.fingerprint()
    with FakeLLM([indiscreet]) as server:
        siege = Siege(tiny, random.Random(SEED), "--proposer", f"openai:fake@{server.url}")
        up = siege.up("--trials", "14")
        with stopped_at_the_end(up):
            siege.wait(up, lambda study: len(study.trials) >= 7)
            siege.kill_one("worker", up)
            assert up.wait(600) == 0, siege.last_words()
        assert len(server.requests) >= 5
    all_is_well(siege, before)
