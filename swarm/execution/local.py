"""Trials on this machine: their folders, their limits, and the wait for their end.

A trial is four processes, one after the other, under one supervisor (`swarm.supervisor`):

    train    the candidate's program, sandboxed: sees the labelled train split and leaves weights
    stage    trusted: lays out the unlabelled evaluation images in a secret order
    predict  a fresh sandboxed process of the candidate: rebuilds the model and leaves logits
    score    trusted: holds the labels

Before the first training of a program that nobody has seen run, the same `train` can be cut to three steps and an
evaluation batch, to see how much memory it takes: a probe, in a folder of its own that is deleted afterwards.

The lease of the device ends after `predict`. Every number that counts comes from `score`; what `train` reports about
itself is shown and never believed.

Not promised: that the work goes on if the machine goes down. A trial without a result is run again from its commit.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from swarm.admission import Lease, default_root
from swarm.errors import TrialError, TrialLost
from swarm.execution.harness import harness_root, harness_sha256
from swarm.execution.outcome import STALL_LIMIT_S, Outcome, Terms, read_outcome, read_probe
from swarm.records import Budget, FailReason
from swarm.repo import Repo
from swarm.study.settings import RunSettings
from swarm.supervisor import Running, attach, kill_leftovers, launch
from swarm.supervisor.run import remove_tree
from swarm.supervisor.spec import PhaseSpec, TrialResult, TrialSpec

PROBE_WALLTIME_S = 120.0  # a compilation is most of it
PREDICT_WALLTIME_S = 180.0
TRUSTED_WALLTIME_S = 120.0
START_UP_CPU_S = 60.0
POLL_S = 0.1
CODE_SUFFIXES = (".py", ".pyc", ".so")
LOG_LIMIT_BYTES = 4 * 1024 * 1024
UNTOUCHED_MIB = 1536
"""On a CPU the kernel limits what a process maps for writing, and admission counts what it touches. The difference:
the libraries' data, thread stacks, and the copy-on-write map of the training images."""


@dataclass(frozen=True)
class TrialOrder:
    """What is to be run. `commit` holds the program, `seed` is the harness's, never the candidate's."""

    trial_id: str
    commit: str
    seed: int
    rungs: tuple[float, ...] = ()


class Executor(Protocol):
    def run(
        self, order: TrialOrder, lease: Lease, *, on_start: Callable[[int], None], poll: Callable[[], str | None]
    ) -> Outcome:
        """Run it to its end. `on_start` is told the supervisor's pid; `poll` is asked several times a second and
        answers with a reason to stop the trial, or None. Raises TrialError when it could not be set up, and TrialLost
        when its supervisor died."""

    def probe(
        self, order: TrialOrder, lease: Lease, *, on_start: Callable[[int], None], poll: Callable[[], str | None]
    ) -> Outcome:
        """Run three steps of it and one evaluation batch. The outcome has a `peak_mib` or a reason, and no score.
        Raises as `run` does; whatever happens, nothing of it is left."""

    def adopt(self, trial_id: str, *, poll: Callable[[], str | None]) -> Outcome | None:
        """Wait for a trial that an earlier process started. None when nothing of it can be saved."""


class LocalExecutor:
    """Trials on this machine, each in `.swarm/trials/<study>/<trial>/`."""

    def __init__(
        self, settings: RunSettings, repo: Repo, *, zygote: Path | None, sleep: Callable[[float], None]
    ) -> None:
        self._settings = settings
        self._repo = repo
        self._zygote = zygote
        self._sleep = sleep

    def run(
        self, order: TrialOrder, lease: Lease, *, on_start: Callable[[int], None], poll: Callable[[], str | None]
    ) -> Outcome:
        folder = self._settings.layout.trial(self._settings.study_id, order.trial_id)
        before = harness_sha256()
        phases = trial_phases(folder, self._settings, gate_of(lease, self._settings))
        outcome = self._collect(self._launch(folder, order, lease, phases, on_start), poll)
        return outcome if harness_sha256() == before else _harness_modified(outcome)

    def probe(
        self, order: TrialOrder, lease: Lease, *, on_start: Callable[[int], None], poll: Callable[[], str | None]
    ) -> Outcome:
        order = replace(order, trial_id=f"{order.trial_id}.probe", rungs=())
        folder = self._settings.layout.trial(self._settings.study_id, order.trial_id)
        phase = probe_phase(folder, self._settings, gate_of(lease, self._settings))
        try:
            running = self._launch(folder, order, lease, (phase,), on_start)
            return read_probe(folder, self._wait(running, poll), self._terms())
        finally:
            kill_leftovers(folder)
            remove_tree(folder)

    def adopt(self, trial_id: str, *, poll: Callable[[], str | None]) -> Outcome | None:
        folder = self._settings.layout.trial(self._settings.study_id, trial_id)
        running = attach(folder)
        if running is None:
            kill_leftovers(folder)
            return None
        return self._collect(running, poll)

    def _collect(self, running: Running, poll: Callable[[], str | None]) -> Outcome:
        outcome = read_outcome(running.folder, self._wait(running, poll), self._terms())
        for name in ("predict_in", "predict_out"):  # 17 MB a trial that nobody needs any more
            shutil.rmtree(running.folder / name, ignore_errors=True)
        return outcome

    def _terms(self) -> Terms:
        return Terms(self._settings.budget, self._settings.device, self._settings.threads)

    def _launch(
        self,
        folder: Path,
        order: TrialOrder,
        lease: Lease,
        phases: tuple[PhaseSpec, ...],
        on_start: Callable[[int], None],
    ) -> Running:
        self._lay_out(folder, order, lease)
        with lease.launching():
            running = launch(self._spec(folder, order, lease, phases), lease.lock_fd, socket=self._zygote)
        with contextlib.suppress(ProcessLookupError):  # it may be over already
            if running.pid is not None:
                on_start(running.pid)
        return running

    def _wait(self, running: Running, poll: Callable[[], str | None]) -> TrialResult:
        stopping = False
        try:
            while (result := running.poll()) is None:
                if not stopping and (reason := poll()) is not None:
                    running.stop(reason)
                    stopping = True
                self._sleep(POLL_S)
        except TrialError as error:
            kill_leftovers(running.folder)
            raise TrialLost(str(error)) from error
        return result

    def _lay_out(self, folder: Path, order: TrialOrder, lease: Lease) -> None:
        if folder.exists():
            kill_leftovers(folder)
            shutil.rmtree(folder)
        for name in ("program", "scratch", "train_out", "predict_in", "predict_out", "private", "logs"):
            (folder / name).mkdir(parents=True)
        (folder / "private").chmod(0o700)
        self._repo.export(order.commit, self._settings.target_folder, folder / "program")
        config = self._harness_config(folder, order, lease)
        (folder / "harness.json").write_text(json.dumps(config, indent=1), encoding="utf-8")

    def _harness_config(self, folder: Path, order: TrialOrder, lease: Lease) -> dict[str, object]:
        settings = self._settings
        return {
            "trial_id": order.trial_id,
            "study_id": settings.study_id,
            "seed": order.seed,
            "device": settings.device,
            "threads": settings.threads,
            "data_dir": str(settings.data_dir),
            "folder": str(folder),
            "budget": {"kind": settings.budget.kind, "amount": settings.budget.amount},
            "split": "val",
            "memory_fraction": lease.cap_fraction,
            "memory_cap_mib": lease.cap_mib,
            "rungs": list(order.rungs),
            "gate": str(gate) if (gate := gate_of(lease, settings)) is not None else None,
            "editable": settings.editable,
            "program_sha256": program_sha256(folder / "program"),
        }

    def _spec(self, folder: Path, order: TrialOrder, lease: Lease, phases: tuple[PhaseSpec, ...]) -> TrialSpec:
        settings = self._settings
        on_cpu = settings.device == "cpu"
        return TrialSpec(
            study_id=settings.study_id,
            trial_id=order.trial_id,
            folder=str(folder),
            phases=phases,
            env=dict(lease.env),
            sandbox=settings.sandbox,
            memory_limit_mib=lease.cap_mib + UNTOUCHED_MIB if on_cpu else None,
            log_limit_bytes=LOG_LIMIT_BYTES,
            keep_program=False,
            pythonpath=(str(harness_root().parent.parent),),
        )


def program_sha256(folder: Path) -> str:
    """Hash over the code below a folder, names and contents: what Python could load from it. The stage phase of the
    harness takes it again after training, in the same way."""
    digest = hashlib.sha256()
    found = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    for path in sorted(path for path in found if path.suffix in CODE_SUFFIXES):
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def gate_of(lease: Lease, settings: RunSettings) -> Path | None:
    """Where the co-tenants of a shared GPU time a step alone: one file a device, for everybody on this machine.

    None where a trial has the device to itself, or where the device is a CPU, whose CPU time is the solo clock.
    """
    if settings.device != "cuda" or lease.alone:
        return None
    gate = default_root() / lease.device / "gate"
    gate.parent.mkdir(parents=True, exist_ok=True)
    for path in (gate, gate.with_name("gate.turn")):
        path.touch(mode=0o600)  # the sandbox opens only what exists
    return gate


def trial_phases(folder: Path, settings: RunSettings, gate: Path | None = None) -> tuple[PhaseSpec, ...]:
    """The four processes of a trial with their limits and what each may read and write."""
    budget = settings.budget
    harness, config, program = str(harness_root()), str(folder / "harness.json"), str(folder / "program")
    scratch, train_out, predict_in = (str(folder / name) for name in ("scratch", "train_out", "predict_in"))

    def trusted(name: str) -> PhaseSpec:
        return PhaseSpec(
            name=name,
            module=f"swarm.harness.{name}_phase",
            trusted=True,
            walltime_limit_s=TRUSTED_WALLTIME_S,
            cpu_limit_s=None,
            stall_limit_s=None,
            read=(),
            write=(),
            holds_lease=name == "stage",
            threads=1,
        )

    gates = (str(gate), f"{gate}.turn") if gate is not None else ()  # for reading: that is enough to lock them
    train = PhaseSpec(
        name="train",
        module="swarm.harness.train_phase",
        trusted=False,
        walltime_limit_s=budget.walltime_limit_s,
        cpu_limit_s=_train_cpu_limit(budget, settings),
        stall_limit_s=STALL_LIMIT_S,
        read=(harness, config, str(settings.data_dir / "train"), *gates),
        write=(program, scratch, train_out),
        holds_lease=True,
        threads=settings.threads,
        gpu=settings.device == "cuda",
        gate=gates,
    )
    predict = PhaseSpec(
        name="predict",
        module="swarm.harness.predict_phase",
        trusted=False,
        walltime_limit_s=PREDICT_WALLTIME_S,
        cpu_limit_s=None,
        stall_limit_s=None,
        read=(harness, config, program, train_out, predict_in, *gates),
        write=(scratch, str(folder / "predict_out")),
        holds_lease=True,
        threads=settings.threads,
        gpu=settings.device == "cuda",
        gate=gates,
    )
    return train, trusted("stage"), predict, trusted("score")


def probe_phase(folder: Path, settings: RunSettings, gate: Path | None = None) -> PhaseSpec:
    """The training with three steps instead of its budget, and a shorter limit."""
    train = trial_phases(folder, settings, gate)[0]
    limit_s = min(PROBE_WALLTIME_S, train.walltime_limit_s)
    return replace(train, name="probe", module="swarm.harness.probe_phase", walltime_limit_s=limit_s)


def _train_cpu_limit(budget: Budget, settings: RunSettings) -> float | None:
    """CPU seconds after which training is past any honest use of its budget. Only a CPU's work is counted so."""
    if settings.device != "cpu" or budget.kind == "samples":
        return None
    return 1.25 * budget.amount * settings.threads + START_UP_CPU_S


def _harness_modified(outcome: Outcome) -> Outcome:
    detail = "the harness's files changed while the trial ran; its result is not comparable"
    return replace(outcome, score=None, reason=FailReason.HARNESS_MODIFIED, detail=detail)
