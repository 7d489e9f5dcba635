"""What `swarm up` may be asked for, and what of it makes no sense. Raises UsageError before anything is touched."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from swarm.errors import UsageError
from swarm.study.model_server import split_specs
from swarm.study.settings import Finals, Memory, Sandbox

UNLIMITED = "unlimited"
MOST_TRIALS, FEWEST_HOURS, MOST_HOURS = 1_000_000, 0.0001, 10_000.0
MEMORY_LOT = 0.1  # of the models' proposals: half of it shuffled, half of it without memory
MAY_BE_UNLIMITED = ("--trials", "--hours", "--max-usd", "--max-tokens")
DataChoice = Literal["auto", "cifar100", "kjv", "standin"]
DeviceChoice = Literal["auto", "cuda", "cpu"]
GpuModeChoice = Literal["auto", "shared", "exclusive"]


@dataclass(frozen=True)
class UpOptions:
    """What `swarm up` was asked for. None means: take the target's or the machine's own; a limit of infinity is
    UNLIMITED. `given` names what was asked for in words; a study that goes on keeps all the rest. A value other than
    the default counts as given."""

    workers: int = 2
    target: str = "resnext"
    trials: float | None = None
    hours: float | None = None
    budget_s: float | None = None
    device: DeviceChoice = "auto"
    data: DataChoice = "auto"
    proposer: str = "auto"
    worker_proposers: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    base_url: str | None = None
    max_usd: float | None = None
    max_tokens: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    brain: Path | None = None
    seed: int = 0
    resume: bool = False
    memory: Memory = "shared"
    memory_lot: float = MEMORY_LOT
    sandbox: Sandbox = "auto"
    gpu_mode: GpuModeChoice = "auto"
    gpus: str = "all"
    early_stop: bool = False
    stop_at_plateau: bool = False
    finals: Finals = "auto"
    study: str | None = None
    start_up: Literal["zygote", "spawn"] = "zygote"
    executor: str = "local"
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        default = {one.name: one.default for one in fields(self)}
        said = {name for name, value in default.items() if getattr(self, name) != value}
        object.__setattr__(self, "given", self.given | said - {"given", "worker_proposers"})


def require_between(flag: str, value: float, low: float, high: float) -> None:
    """Raises UsageError for a number outside of the limits, and for nan."""
    if not low <= value <= high:
        raise UsageError(f"{flag} is {value:g}, and must lie between {low:g} and {high:g}")


def named_workers(pairs: Iterable[str]) -> dict[str, str]:
    """Proposers by worker, from texts such as worker_1=SPEC. Raises UsageError for one of another form."""
    named = {}
    for pair in pairs:
        agent_id, _, spec = pair.partition("=")
        if not spec:
            raise UsageError(f"--worker is {pair!r}; it has the form worker_1=SPEC")
        named[agent_id] = spec
    return named


def check_options(options: UpOptions) -> None:
    """Raises UsageError naming the flag, its value and what is allowed."""
    limits: tuple[tuple[str, float | None, float, float], ...] = (
        ("--workers", options.workers, 1, 64),
        ("--trials", options.trials, 1, MOST_TRIALS),
        ("--hours", options.hours, FEWEST_HOURS, MOST_HOURS),
        ("--memory-lot", options.memory_lot, 0.0, 1.0),
        ("--budget-s", options.budget_s, 0.1, 86_400),
        ("--max-usd", options.max_usd, 0, 1_000_000),
        ("--max-tokens", options.max_tokens, 1, 10**12),
        ("--price-in", options.price_in, 0, 1_000_000),
        ("--price-out", options.price_out, 0, 1_000_000),
    )
    for flag, value, low, high in limits:
        if value is not None and not (value == math.inf and flag in MAY_BE_UNLIMITED):
            require_between(flag, value, low, high)
    if (options.price_in is None) != (options.price_out is None):
        raise UsageError("--price-in and --price-out belong together: give both in USD per million tokens, or neither")
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("--device", options.device, get_args(DeviceChoice)),
        ("--data", options.data, get_args(DataChoice)),
        ("--memory", options.memory, get_args(Memory)),
        ("--sandbox", options.sandbox, get_args(Sandbox)),
        ("--gpu-mode", options.gpu_mode, get_args(GpuModeChoice)),
        ("--start-up", options.start_up, ("zygote", "spawn")),
    )
    for flag, choice, allowed in choices:
        if choice not in allowed:
            raise UsageError(f"{flag} is {choice!r}; it is one of {', '.join(allowed)}")
    check_executor(options.executor)
    if options.gpus != "all" and options.device == "cpu":
        raise UsageError(f"--gpus is {options.gpus!r}, and --device cpu uses none: leave one of them out")
    for spec in (options.proposer, *options.worker_proposers.values()):
        check_proposer(spec)
    if not options.resume:  # a study that goes on may have other workers
        check_worker_names(options.worker_proposers, worker_names(options.workers))


def worker_names(count: int) -> tuple[str, ...]:
    return tuple(f"worker_{number + 1}" for number in range(count))


def check_worker_names(named: Iterable[str], workers: Collection[str]) -> None:
    """Raises UsageError for a name that is none of the run's workers."""
    for agent_id in named:
        if agent_id not in workers:
            raise UsageError(f"--worker names {agent_id!r}; this run has {', '.join(sorted(workers))}")


def limit(flag: str, text: str | None, kind: type[int] | type[float]) -> float | None:
    """A limit as the command line has it: a number, or UNLIMITED, which is infinity. Raises UsageError."""
    if text is None or text == UNLIMITED:
        return None if text is None else math.inf
    try:
        if math.isfinite(value := kind(text)):
            return value
    except ValueError:
        pass
    what = "a whole number" if kind is int else "a number"
    raise UsageError(f"{flag} is {text!r}; it is {what}, or the word {UNLIMITED}")


def check_executor(spec: str) -> None:
    """Raises UsageError when `spec` names no executor."""
    kind, _, rest = spec.partition(":")
    if (kind == "local" and rest) or kind not in ("local", "nodes", "ray", "slurm"):
        raise UsageError(f"--executor is {spec!r}; it is one of local, nodes[:PORT], ray[:ADDRESS], slurm[:JOBS]")
    if kind == "slurm" and rest and not (rest.isdigit() and 0 < int(rest) <= 1000):
        raise UsageError(f"--executor is {spec!r}; the number of jobs lies between 1 and 1000")
    if kind == "nodes" and rest and not (rest.isdigit() and 0 < int(rest) < 65536):
        raise UsageError(f"--executor is {spec!r}; the port is a number from 1 to 65535")


def check_proposer(spec: str) -> None:
    """Raises UsageError when `spec` names no proposer."""
    if len(several := split_specs(spec)) > 1:
        for one in several:
            check_proposer(one)
        return
    kind, _, rest = spec.partition(":")
    if kind in ("auto", "embedded", "model-based", "tpe") and not rest:
        return
    if kind == "openai" or (kind in ("cli", "scripted") and rest):
        return
    known = (
        "auto, embedded, model-based, tpe, openai[:MODEL[@URL]], cli:NAME, scripted:FILE, or several models with commas"
    )
    raise UsageError(f"--proposer is {spec!r}; it is one of {known}")
