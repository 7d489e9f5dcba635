"""Runs programs as real trials, two side by side: what the record says of each, and what it did to the world."""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil
from fakes.redteam_programs.ahead import TEXT
from fakes.redteam_programs.build import IT_WORKED, MARK, SLOW, TRAIN, Clock, Kind, Program
from fakes.tiny_study import TinyStudy

import swarm.harness
from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.errors import SwarmError
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, RunningTrial, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.records import Budget
from swarm.supervisor import kill_leftovers
from swarm.trial.asked import ASKED, Harness
from swarm.trial.contract import harness_sha256
from swarm.trial.files import read_json, read_tail
from swarm.trial.folder import TrialFolder

STUDY = "redteam"
FIRST = "baseline_images_0"  # what it needed is known of all others, as of a parent: none of them is probed
IMAGES, SECONDS = 3000, 4.0
LANES = 2
OVERRUN_S = 8.0
TRUSTED_S = 60.0  # what all phases together may take beside the training
LIMIT_S = 240.0
IMAGES_TOLERANCE, LEAST_SECONDS_TOLERANCE = 0.12, 0.2
RUNG_TOLERANCE = 0.25
_LISTENS = (
    "import os, signal, time\n"
    "for number in (signal.SIGURG, signal.SIGTERM, signal.SIGIO):\n"
    "    signal.signal(number, lambda *_: os._exit(77))\n"
    "parent = os.getppid()\n"
    "os.write(1, b'r')\n"
    "while os.getppid() == parent:\n"
    "    time.sleep(0.5)"
)
_LOG_BYTES = 32 << 20
_PLACES = (
    "/dev/shm",
    "/dev/mqueue",
    "/tmp",
    "/var/tmp",
    "/run",
    "/run/lock",
    str(Path("~root").expanduser()),
    "/home",
    str(Path("~root/.cache").expanduser()),
    "/usr/local/lib",
)


@dataclass
class Ran:
    """One trial that is over. `harm`: what it did to the world beside its record."""

    program: Program
    outcome: Outcome | None
    error: str
    log: str
    seconds: float
    harm: list[str] = field(default_factory=list)

    @property
    def loss(self) -> float | None:
        return (
            self.outcome.score.validation_loss if self.outcome is not None and self.outcome.score is not None else None
        )

    @property
    def level(self) -> str:
        return (self.outcome.sandbox if self.outcome is not None else None) or "-"

    @property
    def worked(self) -> list[str]:
        return [line for line in self.log.splitlines() if IT_WORKED in line]


@dataclass(frozen=True)
class Baseline:
    """Honest runs on one clock: the least of their losses, and how far below it is still luck."""

    losses: tuple[float, ...]
    rungs: dict[float, float]
    tolerance: float

    @property
    def least(self) -> float:
        return min(self.losses)


class Campaign:
    """Trials of one study in a user's repository. `programs` are run in their order; `result` waits for one of them."""

    def __init__(self, tiny: TinyStudy, zygote: Path | None, programs: Iterable[Program]) -> None:
        self.tiny = tiny
        self._trials = tiny.root / ".swarm" / "trials" / STUDY
        self._data = prepare("standin").layout.root
        admission = AdmissionController(tiny.ledger, detect_probe("cpu"), SystemClock())
        self._executors: dict[Harness, LocalExecutor] = {
            harness: LocalExecutor(
                self._trials, prepare("standin", harness=harness).layout.root, admission, SystemClock(), zygote=zygote
            )
            for harness in ASKED
        }
        self._waiting = list(programs)
        self._running: dict[str, _Lane] = {}
        self._done: dict[str, Ran] = {}
        self._count = 0
        self._victim = Victim()
        self._neighbour = NeighbourSocket(tiny.ledger.parent)
        self._world = World(self._data)

    def honest(self, program: Program) -> Baseline:
        """What the honest part of a program comes to on its clock."""
        if program.harness == "text":
            return self._on_text
        if program.clock == "seconds":
            return self._on_seconds
        return self._slow_on_images if program.slow else self._on_images

    @cached_property
    def _on_images(self) -> Baseline:
        return self._baseline("baseline", TRAIN, "images", 3)

    @cached_property
    def _on_text(self) -> Baseline:
        return self._baseline("text_baseline", TEXT, "images", 2, harness="text")

    @cached_property
    def _slow_on_images(self) -> Baseline:
        return self._baseline("slow_baseline", SLOW, "images", 2)

    @cached_property
    def _on_seconds(self) -> Baseline:
        return self._baseline("slow_baseline", SLOW, "seconds", 6)

    def result(self, program: Program) -> Ran:
        while program.name not in self._done:
            self._step()
            time.sleep(0.01)
        return self._done[program.name]

    def close(self) -> None:
        for name in list(self._running):
            self._running[name].trial.stop("the tests are over")
        while self._running:
            self._step(start=False)
        self._victim.close()
        self._neighbour.close()
        self._world.close()

    def _baseline(self, name: str, source: str, clock: Clock, count: int, *, harness: Harness = "images") -> Baseline:
        """Side by side with each other, as the attacks run."""
        rungs = (0.25, 0.5, 0.75)
        honest = [
            Program(
                f"{name}_{clock}_{number}",
                Kind.TWIN,
                source,
                clock=clock,
                rungs=rungs,
                walltime_s=90.0,
                harness=harness,
            )
            for number in range(count)
        ]
        self._waiting[:0] = honest
        found = [self.result(program) for program in honest]
        losses = tuple(ran.loss for ran in found if ran.loss is not None)
        assert len(losses) == count, [(ran.error, ran.outcome, ran.log[-2000:]) for ran in found if ran.loss is None]
        at = {}
        for ran in found:
            for progress, loss in ran.outcome.rungs if ran.outcome else ():
                at[progress] = min(loss, at.get(progress, loss))
        if clock == "images":
            return Baseline(losses, at, IMAGES_TOLERANCE)
        return Baseline(losses, at, max(LEAST_SECONDS_TOLERANCE, 2 * statistics.stdev(losses)))

    def _step(self, *, start: bool = True) -> None:
        while start and (found := self._next()) is not None:
            self._waiting.remove(found)
            self._start(found)
        for lane in list(self._running.values()):
            if lane.step():
                del self._running[lane.program.name]
                self._done[lane.program.name] = self._account(lane)

    def _next(self) -> Program | None:
        if not self._waiting or len(self._running) >= LANES:
            return None
        first = self._waiting[0]
        busy = bool(self._running)
        if first.runs_beside in self._running:
            return first
        by_itself = _runs_by_itself(first) or any(_runs_by_itself(lane.program) for lane in self._running.values())
        return None if by_itself and busy else first

    def _start(self, program: Program) -> None:
        self._count += 1
        order = self._order(program, f"t{self._count:04}")
        self._running[program.name] = _Lane(
            program, self._executors[program.harness].submit(order), TrialFolder(self._trials / order.trial_id)
        )

    def _order(self, program: Program, trial_id: str) -> TrialOrder:
        source = program.source.replace("VICTIM", str(self._victim.pid)).replace(
            "NEIGHBOUR_SOCKET", str(self._neighbour.path)
        )
        kind, amount = ("samples", IMAGES) if program.clock == "images" else ("solo_seconds", SECONDS)
        return TrialOrder(
            study_id=STUDY,
            trial_id=trial_id,
            agent_id="worker_1",
            target="tiny",
            files={"train.py": source.encode(errors="surrogatepass")},
            editable="train.py",
            seed=1,
            budget=Budget(kind=kind, amount=amount, walltime_limit_s=program.walltime_s),  # type: ignore[arg-type]
            rungs=program.rungs,
            device="cpu",
            threads=program.threads,
            alone=program.alone or self._count == 1,
            sandbox="auto",
            harness=program.harness,
            harness_sha256=harness_sha256(),
            memory=MemoryEvidence(code_sha256=program.name, parents=(FIRST,), profile_mib=1200),
        )

    def _account(self, lane: "_Lane") -> Ran:
        folder, program = lane.folder, lane.program
        harm = []
        if left := kill_leftovers(folder.root):
            harm.append(f"left processes {left}")
        harm += [f"left {path.name}/" for path in (folder.program, folder.scratch) if path.exists()]
        harm += _overran(folder, program) + self._victim.harm() + self._neighbour.harm() + self._world.harm()
        limit_s = program.walltime_s + OVERRUN_S + TRUSTED_S
        if lane.seconds > limit_s:
            harm.append(f"took {lane.seconds:.0f} s, limit {limit_s:.0f}")
        log = "".join(
            read_tail(path, _LOG_BYTES).decode(errors="replace")
            for path in (sorted(folder.logs.iterdir()) if folder.logs.exists() else ())
        )
        if program.clock == "images":  # keep the evidence short, the folder of every trial is not needed again
            with suppress(OSError, SwarmError):
                folder.remove()
        return Ran(program, lane.outcome, lane.error, log, lane.seconds, harm)


def _overran(folder: TrialFolder, program: Program) -> list[str]:
    """A training that went on for longer than its limit and what it takes to end a hostile tree."""
    phases = (read_json(folder.result) or {}).get("phases")
    seconds = [phase["seconds"] for phase in phases if phase["name"] == "train"] if isinstance(phases, list) else []
    limit_s = program.walltime_s + OVERRUN_S
    return [f"trained for {taken:.0f} s, limit {limit_s:.0f}" for taken in seconds if taken > limit_s]


def _runs_by_itself(program: Program) -> bool:
    """What is left behind must have one possible owner."""
    return program.alone or program.kind in (Kind.CROSSING, Kind.POWER)


@dataclass
class _Lane:
    program: Program
    trial: RunningTrial
    folder: TrialFolder
    outcome: Outcome | None = None
    error: str = ""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def step(self) -> bool:
        """Whether it is over. Whatever comes out of `poll` would have ended a worker."""
        try:
            answer = self.trial.poll()
        except Exception as error:  # noqa: BLE001 - an attack's success, to be told as such
            self.error = f"{type(error).__name__}: {error}"[:300]
        else:
            self.seconds = time.monotonic() - self.began
            if isinstance(answer, Progress) and self.seconds < LIMIT_S:
                return False
            if isinstance(answer, Progress):
                self.error = f"no end in {LIMIT_S:.0f} s, still {answer.state}"
            else:
                self.outcome = answer
        self.seconds = time.monotonic() - self.began
        return True


class Victim:
    """A process of the same user outside: whatever happens to it, a candidate did."""

    def __init__(self) -> None:
        self._process = self._start()
        self._facts = self._look()

    @property
    def pid(self) -> int:
        return self._process.pid

    def harm(self) -> list[str]:
        if self._process.poll() is not None:
            ended = self._process.returncode
            self._again()
            return [f"a signal reached a foreign process: it ended with {ended}"]
        now = self._look()
        changed = [
            f"a foreign process: {name} {was} -> {now[name]}" for name, was in self._facts.items() if now[name] != was
        ]
        if changed:
            self.close()
            self._again()
        return changed

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _again(self) -> None:
        self._process = self._start()
        self._facts = self._look()

    def _start(self) -> "subprocess.Popen[bytes]":
        """It ends at any signal that reaches it, one that others ignore included."""
        process = subprocess.Popen([sys.executable, "-c", _LISTENS], start_new_session=True, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.read(1)
        process.stdout.close()
        return process

    def _look(self) -> dict[str, object]:
        seen = psutil.Process(self._process.pid)
        return {
            "nice": seen.nice(),
            "affinity": seen.cpu_affinity(),
            "ioclass": seen.ionice(),
            "policy": os.sched_getscheduler(seen.pid),
            "limits": [seen.rlimit(limit) for limit in (psutil.RLIMIT_CPU, psutil.RLIMIT_NOFILE)],
            "killer": Path(f"/proc/{seen.pid}/oom_score_adj").read_text(),
            "group": os.getpgid(seen.pid),
            "stopped": seen.status() == psutil.STATUS_STOPPED,
        }


class NeighbourSocket:
    """A listening socket of somebody else of this user."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "neighbour.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._socket.settimeout(0.0)

    def harm(self) -> list[str]:
        calls = 0
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                calls += 1
        return ["connected to a foreign socket"] if calls else []

    def close(self) -> None:
        self._socket.close()


class World:
    """What nothing may be left in: System V objects, folders that everybody shares, times and modes of shared files.

    Found things stay until the end, for the program that looks for them, and are told once.
    """

    def __init__(self, data: Path) -> None:
        self._watched = [data / "train" / "meta.json", data / "train" / "images.npy", Path(swarm.harness.__file__)]
        self._places = [*map(Path, _PLACES), data, data / "train", data.parent, Path(os.__file__).parent]
        self._before = self._facts = self._look()
        self._objects = self._objects_before = self._system_v()
        self._told: set[Path] = set()

    def harm(self) -> list[str]:
        new_files = {path for place in self._places for path in _marked(place)} - self._told
        self._told |= new_files
        facts, objects = self._look(), self._system_v()
        found = [f"left {path}" for path in sorted(new_files)]
        found += ["changed times, modes or owners of shared files"] if facts != self._facts else []
        found += [f"left System V objects {sorted(objects - self._objects)}"] if objects - self._objects else []
        self._facts, self._objects = facts, objects
        return found

    def close(self) -> None:
        for path in self._told:
            path.unlink(missing_ok=True)
        for path, (mtime, mode, user, group) in zip(self._watched, self._before, strict=True):
            with suppress(OSError):
                os.utime(path, (mtime, mtime))
                path.chmod(mode & 0o7777)
                os.chown(path, user, group)
        for kind, key in self._objects - self._objects_before:
            option = {"shm": "-m", "sem": "-s", "msg": "-q"}[kind]
            subprocess.run(["ipcrm", option, str(key)], check=False, capture_output=True)

    def _look(self) -> list[tuple[float, int, int, int]]:
        found = [path.stat() for path in self._watched]
        return [(facts.st_mtime, facts.st_mode, facts.st_uid, facts.st_gid) for facts in found]

    @staticmethod
    def _system_v() -> set[tuple[str, int]]:
        found = set()
        for kind in ("shm", "sem", "msg"):
            with suppress(OSError):
                lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
                found |= {(kind, int(line.split()[1])) for line in lines}
        return found


def _marked(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if MARK in path.name]
    except OSError:
        return []
