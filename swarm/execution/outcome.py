"""What a trial's folder says once the trial is over: a score, or a reason and a sentence.

Every file that the candidate could write is read as hostile: of bounded size, of a known shape, and believed in nothing
that counts.
"""

import contextlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm.admission import OomReport
from swarm.errors import TrialError
from swarm.records import Budget, FailReason, Score
from swarm.study.settings import Device
from swarm.supervisor.spec import SETUP_FAILED, PhaseResult, TrialResult
from swarm.trial.heartbeat import log_tail

STALL_LIMIT_S = 60.0
HONEST_DIFFERENCE = 0.01  # relative; a candidate's own word about its loss may round
OVER_BUDGET_FACTOR = 1.25
BEYOND_BUDGET = ("over_budget", "long_predict")  # work that others did not have: no score
PREDICT_SHARE = 0.25  # of the budget: more work than this in `predict` is no mere prediction
START_UP_ALLOWANCE_S = 15.0  # CPU seconds of imports, building, warm-up and rungs
UNACCOUNTED_S, UNACCOUNTED_SHARE = 2.0, 0.1
GATE_S, GATE_SHARE = 30.0, 0.25  # seconds and share of the training for which a trial may keep a GPU's gate closed
MIB = 1 << 20
_CLAIM = re.compile(r"^\s*val(?:idation)?_loss\s*[:=]\s*([-+0-9.eE]+)\s*$", re.MULTILINE)
_DENIED = re.compile(r"Permission denied|Operation not permitted|Invalid cross-device link")
_PRIED = re.compile(r"/proc/(?:self|\d+)/(?:fd|environ|mem|maps|root|cwd)\b")

EXIT_REASONS: dict[int, FailReason] = {
    10: FailReason.DIVERGED,
    11: FailReason.OUT_OF_MEMORY,
    12: FailReason.INVALID_OUTPUT,
    13: FailReason.INVALID_OUTPUT,
}
EXIT_DATA_MISSING = 14


class MeterReport(BaseModel):
    """What the budget's meter found on a shared GPU; elsewhere it has nothing to say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    drift_flag: bool = False
    measured_alone: bool = True


class TrainReport(BaseModel):
    """What the candidate's process wrote about itself (`train.json`). Informational: it may say anything, as long as it
    fits into a record."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, str_max_length=120)

    steps: int | None = None
    samples: int | None = None
    training_seconds: float | None = None
    wall_seconds: float | None = None
    num_params_M: float | None = None  # noqa: N815 - the name in the original run's log
    peak_reserved_mib: float | None = None
    alloc_retries: int | None = None
    cap_lifted: bool = False
    curve: tuple[tuple[float, float], ...] = Field(default=(), max_length=100)
    overhead_s: dict[str, float] = Field(default={}, max_length=20)
    solo_rate: float | None = None
    own_seed: bool = False
    meter: MeterReport = MeterReport()
    device: str | None = None
    torch: str | None = None


@dataclass(frozen=True)
class Terms:
    """What a trial was allowed. Its flags say where it went beyond."""

    budget: Budget
    device: Device
    threads: int

    def cpu_limit_s(self, share: float) -> float | None:
        """CPU seconds that an honest process does not reach with this share of the budget; None where the budget is
        no measure of a CPU's work."""
        if self.device != "cpu" or self.budget.kind == "samples":
            return None
        cores = self.threads if self.budget.kind == "seconds" else 1
        return share * self.budget.amount * cores + START_UP_ALLOWANCE_S


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: a score, or a reason and a sentence.

    `peak_mib` of training and prediction: resident, as the kernel saw it, on a CPU; on a GPU reserved by the allocator,
    which only the candidate's process can tell.
    """

    score: Score | None
    reason: FailReason | None
    detail: str
    train: TrainReport
    result: TrialResult
    rungs: tuple[tuple[float, float], ...] = ()
    flags: tuple[str, ...] = ()
    oom: OomReport | None = None
    peak_mib: int | None = None

    @property
    def wall_s(self) -> float:
        return sum(phase.seconds for phase in self.result.phases)

    @property
    def host_peak_mib(self) -> int | None:
        """The most RAM that one of its processes held, as the kernel saw it; None when none was waited for."""
        return max((int(phase.peak_rss_mib) for phase in self.result.phases), default=0) or None

    @property
    def overhead_s(self) -> dict[str, float]:
        """Wall seconds outside training, by cause. The parts of `train` are the candidate's own account of it."""
        items = {phase.name: round(phase.seconds, 3) for phase in self.result.phases if phase.name != "train"}
        rest = _unaccounted_s(self.train, self.result)
        if rest is None:
            return items
        return {**self.train.overhead_s, "teardown": round(max(0.0, rest), 3), **items}


def read_outcome(folder: Path, result: TrialResult, terms: Terms) -> Outcome:
    """What a finished trial's folder says. Raises TrialError for a failed set-up, which is not a failed trial."""
    train = _read_train_report(folder)
    found = Outcome(None, None, "", train or TrainReport(), result, _read_rungs(folder), oom=_read_oom(folder))
    found = replace(found, flags=_flags(folder, found, terms), peak_mib=_peak_mib(found, terms))
    failed = next((phase for phase in result.phases if phase.ending != "ok"), None)
    if failed is not None:
        if failed.exit_code in (EXIT_DATA_MISSING, SETUP_FAILED):
            raise TrialError(f"phase {failed.name} could not be set up: {log_tail(folder, failed.name)}")
        reason, detail = explain(failed, result.stopped_reason, log_tail(folder, failed.name))
        return replace(found, reason=reason, detail=detail)
    score = _read_score(folder)
    if isinstance(score, str):
        return replace(found, reason=FailReason.INVALID_OUTPUT, detail=score)
    if any(flag in BEYOND_BUDGET for flag in found.flags):
        return replace(found, reason=FailReason.OVER_BUDGET, detail=_explain_excess(found, terms))
    more = () if train is not None else ("bad_report",)
    claims = ("self_report",) if _claims_otherwise(folder, score.validation_loss) else ()
    return replace(found, score=score, flags=(*found.flags, *claims, *more))


def read_probe(folder: Path, result: TrialResult, terms: Terms) -> Outcome:
    """What a finished probe's folder says: `peak_mib` when `reason` is None, and never a score."""
    found = Outcome(None, None, "", _read_train_report(folder) or TrainReport(), result, oom=_read_oom(folder))
    found = replace(found, peak_mib=_peak_mib(found, terms))
    failed = next((phase for phase in result.phases if phase.ending != "ok"), None)
    if failed is not None:
        reason, detail = explain(failed, result.stopped_reason, log_tail(folder, failed.name))
        return replace(found, reason=reason, detail=detail)
    if found.peak_mib is None:
        return replace(found, reason=FailReason.INVALID_OUTPUT, detail="the probe left no peak")
    return found


def explain(phase: PhaseResult, stopped_reason: str | None, tail: str) -> tuple[FailReason, str]:
    """Why a phase ended the trial: the reason, and a sentence with the number that broke which limit."""
    name = phase.name
    match phase.ending:
        case "walltime":
            found = FailReason.TIMEOUT, f"{name} was killed at its walltime limit after {phase.seconds:.1f} s"
        case "stalled":
            found = FailReason.TIMEOUT, f"{name} made no step for {STALL_LIMIT_S:.0f} s and was killed"
        case "cpu_limit":
            used = f"{phase.cpu_seconds:.1f} CPU seconds"
            found = FailReason.OVER_BUDGET, f"{name} went on past its budget: killed after {used}"
        case "host_oom":
            found = FailReason.OUT_OF_MEMORY, f"{name} was killed for memory of the host: {phase.detail}"
        case "stopped":
            pruned = stopped_reason is not None and stopped_reason.startswith("pruned")
            found = FailReason.PRUNED if pruned else FailReason.ABANDONED, stopped_reason or "stopped"
        case "signal":
            found = FailReason.CRASHED, f"{name} died of signal {phase.signal}. {tail}".strip()
        case _:
            reason = EXIT_REASONS.get(phase.exit_code or 0, FailReason.CRASHED)
            found = reason, f"{name} ended with exit code {phase.exit_code}. {tail}".strip()
    return found


def _explain_excess(found: Outcome, terms: Terms) -> str:
    """For a trial with a flag of BEYOND_BUDGET: what it used, what it was allowed, and what to change."""
    budget, train, result = f"{terms.budget.amount:g} {terms.budget.kind}", found.train, found.result
    sentences = []
    if "over_budget" in found.flags:
        claimed = train.samples if terms.budget.kind == "samples" else train.training_seconds
        limit_s = terms.cpu_limit_s(OVER_BUDGET_FACTOR)
        counted = "" if limit_s is None else f", {_cpu_s(result, 'train'):.1f} CPU seconds (limit {limit_s:.1f})"
        sentences.append(
            f"over_budget: train reports {claimed} of {budget}{counted}: "
            "let clock.batches decide when to stop, and train in no other thread or process"
        )
    if "long_predict" in found.flags:
        limit_s = terms.cpu_limit_s(PREDICT_SHARE)
        sentences.append(
            f"long_predict: {_cpu_s(result, 'predict'):.1f} CPU seconds in predict (limit {limit_s:.1f}: "
            f"{PREDICT_SHARE:.0%} of {budget}, and {START_UP_ALLOWANCE_S:g}): "
            "make the network smaller, or pass each image fewer times"
        )
    return "; ".join(sentences)


def _read_train_report(folder: Path) -> TrainReport | None:
    try:
        return TrainReport.model_validate_json((folder / "train_out" / "train.json").read_bytes()[: 1 << 20])
    except (OSError, ValidationError):
        return None


def _read_score(folder: Path) -> Score | str:
    try:
        fields = json.loads((folder / "private" / "score.json").read_bytes())
        if error := fields.get("error"):
            return str(error)
        return Score.model_validate(fields)
    except (OSError, ValueError) as error:
        return f"the scorer left no score: {error}"


def _read_rungs(folder: Path) -> tuple[tuple[float, float], ...]:
    found: list[tuple[float, float]] = []
    for path in sorted((folder / "private").glob("rung_*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            fields = json.loads(path.read_bytes())
            found.append((float(fields["progress"]), float(fields["loss"])))
    return tuple(found)


def _read_oom(folder: Path) -> OomReport | None:
    """What the allocator said when it gave up on a CUDA device; the file is in bytes."""
    try:
        fields = json.loads((folder / "train_out" / "oom.json").read_bytes()[: 1 << 16])
        requested, reserved, allowed, free = (
            fields.get(name) for name in ("requested", "reserved", "allowed", "device_free")
        )
    except (OSError, ValueError, AttributeError):
        return None
    if not isinstance(requested, int) or not isinstance(reserved, int):
        return None
    return OomReport(
        requested_mib=-(-requested // MIB),
        reserved_mib=-(-reserved // MIB),
        allowed_mib=allowed // MIB if isinstance(allowed, int) else None,
        device_free_mib=free // MIB if isinstance(free, int) else None,
    )


def _flags(folder: Path, found: Outcome, terms: Terms) -> tuple[str, ...]:
    """What is odd about a trial, for its record. Only work beyond the budget costs it its score."""
    rest = _unaccounted_s(found.train, found.result)
    odd = {
        "cap_lifted": found.train.cap_lifted,
        "over_budget": _trained_too_long(found, terms),
        "long_predict": _worked_longer(found.result, "predict", terms.cpu_limit_s(PREDICT_SHARE)),
        "clock_mismatch": rest is not None and abs(rest) > UNACCOUNTED_S + UNACCOUNTED_SHARE * found.wall_s,
        "denied": any(_DENIED.search(_log(folder, phase)) for phase in ("train", "predict")),
        "pried": any(_PRIED.search(_log(folder, phase)) for phase in ("train", "predict")),
        "own_seed": found.train.own_seed,
        "left_processes": any(phase.left_processes for phase in found.result.phases),
        "hoarded_gate": any(phase.gate_held_s > GATE_S + GATE_SHARE * phase.seconds for phase in found.result.phases),
        "not_alone": not found.train.meter.measured_alone,
        "drift": found.train.meter.drift_flag,
        "tta": (_passes_per_image(folder) or 0.0) > 1.0,
    }
    return tuple(name for name, is_odd in odd.items() if is_odd)


def _peak_mib(found: Outcome, terms: Terms) -> int | None:
    if terms.device == "cuda":
        return round(found.train.peak_reserved_mib) if found.train.peak_reserved_mib else None
    peaks = [phase.peak_rss_mib for phase in found.result.phases if phase.name in ("probe", "train", "predict")]
    return max((int(peak) for peak in peaks), default=None)


def _trained_too_long(found: Outcome, terms: Terms) -> bool:
    """By the supervisor's measure of CPU time, or by the training's own words."""
    train, amount = found.train, terms.budget.amount
    if terms.budget.kind == "samples":  # the last step begins within the budget
        return train.samples is not None and train.samples - train.samples / max(1, train.steps or 1) >= amount
    if train.training_seconds is not None and train.training_seconds > OVER_BUDGET_FACTOR * amount:
        return True
    return _worked_longer(found.result, "train", terms.cpu_limit_s(OVER_BUDGET_FACTOR))


def _worked_longer(result: TrialResult, name: str, limit_s: float | None) -> bool:
    return limit_s is not None and _cpu_s(result, name) > limit_s


def _cpu_s(result: TrialResult, name: str) -> float:
    return sum(phase.cpu_seconds for phase in result.phases if phase.name == name)


def _unaccounted_s(report: TrainReport, result: TrialResult) -> float | None:
    """Wall seconds of the training process, as the supervisor saw it, that its own account leaves out."""
    train = next((phase for phase in result.phases if phase.name == "train"), None)
    if train is None or report.wall_seconds is None:
        return None
    return train.seconds - report.wall_seconds - sum(report.overhead_s.values())


def _claims_otherwise(folder: Path, loss: float) -> bool:
    """Whether the program printed a validation loss of its own that is not the scorer's."""
    claims: list[float] = []
    for match in _CLAIM.finditer(_log(folder, "train")):
        with contextlib.suppress(ValueError):
            claims.append(float(match[1]))
    return any(abs(claim - loss) > HONEST_DIFFERENCE * abs(loss) for claim in claims)


def _log(folder: Path, phase: str) -> str:
    try:
        return (folder / "logs" / f"{phase}.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _passes_per_image(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / "predict_out" / "predict.json").read_bytes()[: 1 << 16])["passes_per_image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
