"""What a trial's folder says once the trial is over: a score, or a reason and a sentence.

Every file that the candidate could write is read as hostile: of bounded size, of a known shape, and believed in nothing
that counts.
"""

import contextlib
import json
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.admission import OomReport
from swarm.errors import TrialError
from swarm.records import FailReason, Score
from swarm.supervisor.spec import SETUP_FAILED, PhaseResult, TrialResult

STALL_LIMIT_S = 60.0
HONEST_DIFFERENCE = 0.01  # relative; a candidate's own word about its loss may round
MIB = 1 << 20
_HEARTBEAT = struct.Struct("<dQddd")
_CLAIM = re.compile(r"^\s*val(?:idation)?_loss\s*[:=]\s*([-+0-9.eE]+)\s*$", re.MULTILINE)

EXIT_REASONS: dict[int, FailReason] = {
    10: FailReason.DIVERGED,
    11: FailReason.OUT_OF_MEMORY,
    12: FailReason.INVALID_OUTPUT,
    13: FailReason.INVALID_OUTPUT,
}
EXIT_DATA_MISSING = 14


class TrainReport(BaseModel):
    """What the candidate's process wrote about itself (`train.json`). Informational: it may say anything."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    steps: int | None = None
    samples: int | None = None
    training_seconds: float | None = None
    wall_seconds: float | None = None
    num_params_M: float | None = None  # noqa: N815 - the name in the original run's log
    peak_reserved_mib: float | None = None
    alloc_retries: int | None = None
    cap_lifted: bool = False
    curve: tuple[tuple[float, float], ...] = ()
    overhead_s: dict[str, float] = {}
    solo_rate: float | None = None
    device: str | None = None
    torch: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: a score, or a reason and a sentence."""

    score: Score | None
    reason: FailReason | None
    detail: str
    train: TrainReport
    result: TrialResult
    rungs: tuple[tuple[float, float], ...] = ()
    flags: tuple[str, ...] = ()
    oom: OomReport | None = None

    @property
    def wall_s(self) -> float:
        return sum(phase.seconds for phase in self.result.phases)

    @property
    def overhead_s(self) -> dict[str, float]:
        """Wall seconds outside training, by cause. The parts of `train` are the candidate's own account of it."""
        items = {phase.name: round(phase.seconds, 3) for phase in self.result.phases if phase.name != "train"}
        train = next((phase for phase in self.result.phases if phase.name == "train"), None)
        if train is None or self.train.wall_seconds is None:
            return items
        told = dict(self.train.overhead_s)
        rest = train.seconds - self.train.wall_seconds - sum(told.values())
        return {**told, "teardown": round(max(0.0, rest), 3), **items}

    @property
    def peak_mib(self) -> int | None:
        """Peak memory of training and prediction on their device: reserved by the allocator, or resident on a CPU."""
        if self.train.peak_reserved_mib:
            return round(self.train.peak_reserved_mib)
        peaks = [phase.peak_rss_mib for phase in self.result.phases if phase.name in ("train", "predict")]
        return max((int(peak) for peak in peaks), default=None)


@dataclass(frozen=True)
class Progress:
    """One reading of a running trial's heartbeat."""

    step: int
    progress: float
    loss: float
    budget_used: float


def read_outcome(folder: Path, result: TrialResult) -> Outcome:
    """What a finished trial's folder says. Raises TrialError for a failed set-up, which is not a failed trial."""
    train = _read_train_report(folder)
    found = Outcome(None, None, "", train, result, _read_rungs(folder), _flags(folder, train, None), _read_oom(folder))
    failed = next((phase for phase in result.phases if phase.ending != "ok"), None)
    if failed is not None:
        if failed.exit_code in (EXIT_DATA_MISSING, SETUP_FAILED):
            raise TrialError(f"phase {failed.name} could not be set up: {log_tail(folder, failed.name)}")
        reason, detail = explain(failed, result.stopped_reason, log_tail(folder, failed.name))
        return replace(found, reason=reason, detail=detail)
    score = _read_score(folder)
    if isinstance(score, str):
        return replace(found, reason=FailReason.INVALID_OUTPUT, detail=score)
    return replace(found, score=score, flags=_flags(folder, train, score))


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


def read_progress(folder: Path) -> Progress | None:
    """The last heartbeat of a running training, or None before its first step."""
    try:
        raw = (folder / "train_out" / "heartbeat").read_bytes()
        _, step, progress, loss, used = _HEARTBEAT.unpack(raw[: _HEARTBEAT.size])
    except (OSError, struct.error):
        return None
    return Progress(step, progress, loss, used)


def log_tail(folder: Path, phase: str, lines: int = 6, limit: int = 800) -> str:
    """The end of a phase's output, as one short text for a person or a record."""
    try:
        raw = (folder / "logs" / f"{phase}.log").read_bytes()[-8192:]
    except OSError:
        return ""
    text = raw.decode("utf-8", "replace").strip().splitlines()[-lines:]
    return "\n".join(text)[-limit:]


def _read_train_report(folder: Path) -> TrainReport:
    try:
        return TrainReport.model_validate_json((folder / "train_out" / "train.json").read_bytes()[: 1 << 20])
    except (OSError, ValidationError):
        return TrainReport()


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


def _flags(folder: Path, train: TrainReport, score: Score | None) -> tuple[str, ...]:
    """What is odd about a trial. Named in its record; none of it changes the score."""
    flags = ["cap_lifted"] if train.cap_lifted else []
    if score is not None and _claims_otherwise(folder, score.validation_loss):
        flags.append("self_report")
    if (passes := _passes_per_image(folder)) is not None and passes > 1.0:
        flags.append("tta")
    return tuple(flags)


def _claims_otherwise(folder: Path, loss: float) -> bool:
    """Whether the program printed a validation loss of its own that is not the scorer's."""
    try:
        text = (folder / "logs" / "train.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    claims: list[float] = []
    for match in _CLAIM.finditer(text):
        with contextlib.suppress(ValueError):
            claims.append(float(match[1]))
    return any(abs(claim - loss) > HONEST_DIFFERENCE * abs(loss) for claim in claims)


def _passes_per_image(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / "predict_out" / "predict.json").read_bytes()[: 1 << 16])["passes_per_image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
