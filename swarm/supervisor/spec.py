"""What the supervisor is asked to run and what it reports: plain dataclasses that travel as JSON.

Standard library only, because the supervising process imports this.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from swarm.errors import TrialError
from swarm.sandbox.policy import Mode, SandboxReport
from swarm.trial.folder import TrialFolder

Ending = Literal[
    "ok", "exit", "signal", "walltime", "cpu_limit", "stalled", "stopped", "host_oom",
    "memory_limit", "process_limit", "disk_limit",
]  # fmt: skip


@dataclass(frozen=True)
class PhaseSpec:
    """One process of a trial, started as `python -m MODULE` in a fresh session.

    An untrusted phase runs in T/program under the sandbox: `read` and `write` are the absolute paths it gets beside
    the interpreter's own. A trusted phase runs in T/private without it, and both lists are ignored. `gpu` opens the
    NVIDIA device nodes to an untrusted phase. `cpu_limit_s` counts the CPU time of the whole process tree.
    `stall_limit_s`: longest pause between two heartbeats (three times that until the first step is done). `gate`: lock
    files whose holding is measured (`PhaseResult.gate_held_s`). `rungs`: percentages of the budget at which the
    training leaves something to be judged. `processes`: may start others even where their CPU time is not counted.
    `environment`: names of variables that this phase alone gets from whoever launched the trial; no value is written.
    """

    name: str
    module: str
    trusted: bool
    walltime_limit_s: float
    cpu_limit_s: float | None = None
    stall_limit_s: float | None = None
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    holds_lease: bool = False
    threads: int = 1
    gpu: bool = False
    gate: tuple[str, ...] = ()
    rungs: tuple[int, ...] = ()
    processes: bool = False
    environment: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialSpec:
    """One trial: the folder T (absolute), its phases in order, and the limits that hold for each of them.

    `env` is added to the allow-listed variables of the child. `memory_limit_mib` limits the private writable memory
    of each single process (RLIMIT_DATA; shared and device memory are not in it). `pythonpath` is put in front of the
    import path. `term_grace_s`: time between SIGTERM and SIGKILL. `cores`: how many the trial gets for itself, from the
    places in `cores_folder`; 0 leaves it free. `preload`: the module with all that the phases import (see `warm`), for
    a supervisor that no zygote forked; without it each phase starts an interpreter of its own.
    """

    study_id: str
    trial_id: str
    folder: str
    phases: tuple[PhaseSpec, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    sandbox: Mode = "auto"
    memory_limit_mib: int | None = None
    log_limit_bytes: int = 4 * 1024 * 1024
    pythonpath: tuple[str, ...] = ()
    term_grace_s: float = 5.0
    cores: int = 0
    cores_folder: str = ""
    preload: str = ""

    _nested: ClassVar[dict[str, type]] = {"phases": PhaseSpec}

    @property
    def trial_folder(self) -> TrialFolder:
        return TrialFolder(Path(self.folder))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "TrialSpec":
        """Raises TrialError when the text is not a spec of this version."""
        return _from_json(cls, text)


@dataclass(frozen=True)
class PhaseResult:
    """How one phase went. Times in seconds; `started_s` counts from the start of the trial.

    `ready_s`: from the fork to the first instruction of the phase module; None when the set-up failed before it.
    `cpu_seconds`: of the whole tree where `counted`, else of those of its processes that somebody waited for; of it
    `own_cpu_s`, and of the seconds `own_s`, since the candidate's code began; all of them where it is not `begun`.
    `peak_rss_mib`: of the largest single process. `rungs`: what was taken at each, with `own_cpu_s` and `own_s` then.
    `left_processes`: how many were still there when the first one had ended by itself, and had to be killed.
    `gate_held_s`: how long the tree kept others from the lock files of its spec.
    """

    name: str
    started_s: float
    seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    exit_code: int | None
    signal: int | None
    ending: Ending
    detail: str = ""
    ready_s: float | None = None
    left_processes: int = 0
    gate_held_s: float = 0.0
    counted: bool = False
    begun: bool = False
    own_cpu_s: float = 0.0
    own_s: float = 0.0
    rungs: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """The whole trial. `started_at` and `ended_at` are Unix times; `sandbox` is the weakest report of its phases."""

    trial_id: str
    phases: tuple[PhaseResult, ...]
    sandbox: SandboxReport
    started_at: float
    ended_at: float
    stopped_reason: str | None = None

    _nested: ClassVar[dict[str, type]] = {"phases": PhaseResult, "sandbox": SandboxReport}

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "TrialResult":
        """Raises TrialError when the text is not a result of this version."""
        return _from_json(cls, text)


_Record = TypeVar("_Record", TrialSpec, TrialResult)


def _from_json(record: type[_Record], text: str) -> _Record:
    try:
        return record(**_arguments(record, json.loads(text)))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise TrialError(f"not a {record.__name__}: {error}. The file is damaged or of another version.") from error


def _arguments(record: type[_Record], values: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments of `record`: nested records built, lists turned into tuples."""
    unknown = values.keys() - {entry.name for entry in fields(record)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    return {name: _build(record._nested.get(name), value) for name, value in values.items()}


def _build(nested: type | None, value: object) -> object:
    if isinstance(value, list):
        return tuple(_build(nested, entry) for entry in value)
    if nested is not None and isinstance(value, dict):
        return nested(**{name: _build(None, entry) for name, entry in value.items()})
    return value
