"""What the processes of a trial are told: their limits, and what each may read and write.

    train    the candidate's program, sandboxed: sees the labelled train split and leaves weights
    stage    trusted: lays out the unlabelled evaluation images, or windows of text, in a secret order
    predict  a fresh sandboxed process of the candidate: rebuilds the model and leaves logits
    repeat   once more for a part of them, in other company, and text with another end: answers must agree
    score    trusted: holds the labels

The lease of the device ends after `predict`. Every number that counts comes from `score`; what `train` reports about
itself is shown and never believed.
"""

from dataclasses import replace
from pathlib import Path

from swarm.admission import Lease, default_root
from swarm.execution.executor import TrialOrder
from swarm.supervisor import PhaseSpec, TrialSpec
from swarm.trial.asked import ASKED
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.contract import PRELOAD, Phase, code_root, harness_folders, program_sha256
from swarm.trial.folder import TrialFolder

STALL_LIMIT_S = 60.0
PROBE_WALLTIME_S = 240.0  # a compilation is most of it
PREDICT_WALLTIME_S = 180.0
TRUSTED_WALLTIME_S = 120.0
START_UP_CPU_S = 60.0
PREDICT_CPU_SHARE = 0.5  # of the budget, and the start-up: what is above the honest limit is refused afterwards
LOG_LIMIT_BYTES = 4 * 1024 * 1024
UNTOUCHED_MIB = 1536
"""On a CPU the kernel limits what a process maps for writing, and admission counts what it touches. The difference:
the libraries' data, thread stacks, and the copy-on-write map of the training images."""


def lay_out(folder: TrialFolder, order: TrialOrder, lease: Lease, data_dir: Path, *, probe: bool) -> TrialSpec:
    """Makes the trial's folder: the program, and what the phases are told. Returns what its supervisor is told."""
    gate = gate_of(lease, order)
    folder.make()
    for path, content in order.files.items():
        file = folder.program / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    config = TrialConfig(
        trial_id=order.trial_id,
        study_id=order.study_id,
        seed=order.seed,
        device=order.device,
        threads=order.threads,
        data_dir=data_dir,
        root=folder.root,
        budget=WorkBudget(order.budget.kind, order.budget.amount),
        editable=order.editable,
        split=order.split,
        memory_fraction=lease.cap_fraction,
        memory_cap_mib=lease.cap_mib,
        rungs=order.rungs,
        gate=gate,
        program_sha256=program_sha256(folder.program),
        harness=order.harness,
    )
    folder.config.write_text(config.to_json(), encoding="utf-8")
    of_trial = trial_phases(folder, order, data_dir, gate)
    return TrialSpec(
        study_id=order.study_id,
        trial_id=order.trial_id,
        folder=str(folder.root),
        phases=(probe_phase(of_trial[0]),) if probe else of_trial,
        env=dict(lease.env),
        sandbox=order.sandbox,
        memory_limit_mib=lease.cap_mib + UNTOUCHED_MIB if order.device == "cpu" else None,
        log_limit_bytes=LOG_LIMIT_BYTES,
        pythonpath=(str(code_root()),),
        cores=order.threads if order.device == "cpu" else 0,
        cores_folder=str(default_root() / "cores"),
        preload=PRELOAD,
    )


def gate_of(lease: Lease, order: TrialOrder) -> Path | None:
    """Where the co-tenants of a shared GPU time a step alone: one file a device, for everybody on this machine.

    None where a trial has the device to itself, or where the device is a CPU, whose CPU time is the solo clock.
    """
    if order.device != "cuda" or lease.alone:
        return None
    gate = default_root() / lease.device / "gate"
    gate.parent.mkdir(parents=True, exist_ok=True)
    for path in (gate, gate.with_name("gate.turn")):
        path.touch(mode=0o600)  # the sandbox opens only what exists
    return gate


def trial_phases(folder: TrialFolder, order: TrialOrder, data_dir: Path, gate: Path | None) -> tuple[PhaseSpec, ...]:
    """The four processes of a trial."""
    gates = (str(gate), f"{gate}.turn") if gate is not None else ()  # for reading: that is enough to lock them
    readable = (*map(str, harness_folders()), str(folder.config), *gates)
    train = PhaseSpec(
        name=Phase.TRAIN,
        module=Phase.TRAIN.module,
        trusted=False,
        walltime_limit_s=order.budget.walltime_limit_s,
        cpu_limit_s=_train_cpu_limit(order),
        stall_limit_s=STALL_LIMIT_S,
        read=(*readable, str(folder.program), str(data_dir / "train")),
        write=(str(folder.scratch), str(folder.train_out)),
        rungs=tuple(round(100 * fraction) for fraction in order.rungs),
        holds_lease=True,
        threads=order.threads,
        gpu=order.device == "cuda",
        gate=gates,
    )
    predict = replace(
        train,
        name=Phase.PREDICT,
        module=Phase.PREDICT.module,
        walltime_limit_s=PREDICT_WALLTIME_S,
        cpu_limit_s=_predict_cpu_limit(order),
        stall_limit_s=None,
        rungs=(),
        read=(*readable, str(folder.program), str(folder.weights), str(folder.predict_in)),
        write=(str(folder.scratch), str(folder.predict_out)),
    )
    repeat = replace(
        predict,
        name=Phase.REPEAT,
        module=Phase.REPEAT.module,
        read=(*readable, str(folder.program), str(folder.weights), str(folder.repeat_in)),
        write=(str(folder.scratch), str(folder.repeat_out)),
    )
    stage, score = _trusted(Phase.STAGE, holds_lease=True), _trusted(Phase.SCORE, holds_lease=False)
    return train, stage, predict, repeat, score


def probe_phase(train: PhaseSpec) -> PhaseSpec:
    """The training with three steps instead of its budget, and a shorter limit."""
    limit_s = min(PROBE_WALLTIME_S, train.walltime_limit_s)
    return replace(train, rungs=(), name=Phase.PROBE, module=Phase.PROBE.module, walltime_limit_s=limit_s)


def _trusted(phase: Phase, *, holds_lease: bool) -> PhaseSpec:
    return PhaseSpec(phase, phase.module, trusted=True, walltime_limit_s=TRUSTED_WALLTIME_S, holds_lease=holds_lease)


def _train_cpu_limit(order: TrialOrder) -> float | None:
    """CPU seconds after which training is past any honest use of its budget. Only a CPU's work is counted so."""
    if order.device != "cpu" or order.budget.kind == "samples":
        return None
    return 1.25 * order.budget.amount * order.threads + START_UP_CPU_S


def _predict_cpu_limit(order: TrialOrder) -> float | None:
    """CPU seconds after which a prediction is ended, whatever may still come."""
    if order.device != "cpu" or order.budget.kind == "samples":
        return None
    asked = ASKED[order.harness]
    share = PREDICT_CPU_SHARE * asked.rows(order.split) / asked.val
    return share * order.budget.amount + START_UP_CPU_S
