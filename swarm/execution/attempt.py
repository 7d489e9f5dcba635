"""How one attempt of a trial ended: a score, or a reason and a sentence. Read from its folder once it is over."""

from dataclasses import dataclass, replace

from pydantic import ValidationError

from swarm.admission import OomReport
from swarm.errors import TrialError
from swarm.execution.evidence import Evidence, Terms, TrainReport
from swarm.execution.flags import BEYOND_BUDGET, explain_excess, flags_of, flags_of_score, has_odd_rungs
from swarm.execution.phases import STALL_LIMIT_S
from swarm.records import FailReason, Score
from swarm.supervisor import PhaseResult, TrialResult
from swarm.supervisor.phase import STALL_FACTOR_BEFORE_FIRST_STEP
from swarm.trial.contract import ExitCode
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

EXIT_REASONS: dict[int, FailReason] = {
    ExitCode.DIVERGED: FailReason.DIVERGED,
    ExitCode.OUT_OF_MEMORY: FailReason.OUT_OF_MEMORY,
    ExitCode.CONTRACT_BROKEN: FailReason.INVALID_OUTPUT,
    ExitCode.INVALID_OUTPUT: FailReason.INVALID_OUTPUT,
}
NOT_SET_UP = (ExitCode.DATA_MISSING, ExitCode.SETUP_FAILED)
"""Believed only of what ended before the candidate's code began."""


@dataclass(frozen=True)
class Attempt:
    """One run of a trial's processes. A trial has more of them after a lack of memory, and one outcome."""

    evidence: Evidence
    score: Score | None = None
    reason: FailReason | None = None
    detail: str = ""
    rungs: tuple[tuple[float, float], ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def train(self) -> TrainReport:
        return self.evidence.train

    @property
    def result(self) -> TrialResult:
        return self.evidence.result

    @property
    def failed_phase(self) -> PhaseResult | None:
        return self.evidence.failed_phase

    @property
    def peak_mib(self) -> int | None:
        return self.evidence.peak_mib

    @property
    def oom(self) -> OomReport | None:
        return self.evidence.oom


def read_attempt(folder: TrialFolder, result: TrialResult, terms: Terms) -> Attempt:
    """What a finished trial's folder says. Raises TrialError for a failed set-up, which is not a failed trial."""
    evidence = Evidence.of(folder, result, terms)
    found = Attempt(evidence, rungs=() if has_odd_rungs(evidence) else _read_rungs(folder), flags=flags_of(evidence))
    if (failed := evidence.failed_phase) is not None:
        if _is_not_set_up(failed):
            raise TrialError(f"phase {failed.name} could not be set up: {folder.log_tail(failed.name)}")
        reason, detail = explain(failed, result.stopped_reason, folder.log_tail(failed.name))
        return replace(found, reason=reason, detail=detail)
    score = read_score(folder)
    if isinstance(score, str):
        return replace(found, reason=FailReason.INVALID_OUTPUT, detail=score)
    if any(flag in BEYOND_BUDGET for flag in found.flags):
        return replace(found, reason=FailReason.OVER_BUDGET, detail=explain_excess(evidence, found.flags))
    return replace(found, score=score, flags=(*found.flags, *flags_of_score(evidence, score.validation_loss)))


def read_probe(folder: TrialFolder, result: TrialResult, terms: Terms) -> Attempt:
    """What a finished probe's folder says: `peak_mib` when `reason` is None, and never a score."""
    evidence = Evidence.of(folder, result, terms)
    if (failed := evidence.failed_phase) is not None:
        reason, detail = explain(failed, result.stopped_reason, folder.log_tail(failed.name))
        return Attempt(evidence, reason=reason, detail=detail)
    if evidence.peak_mib is None:
        return Attempt(evidence, reason=FailReason.INVALID_OUTPUT, detail="the probe left no peak")
    return Attempt(evidence)


def explain(phase: PhaseResult, stopped_reason: str | None, tail: str) -> tuple[FailReason, str]:
    """Why a phase ended the trial: the reason, and a sentence with the number that broke which limit."""
    name = phase.name
    match phase.ending:
        case "walltime":
            found = FailReason.TIMEOUT, f"{name} was killed at its walltime limit after {phase.seconds:.1f} s"
        case "stalled":
            first_s = STALL_LIMIT_S * STALL_FACTOR_BEFORE_FIRST_STEP
            limits = f"{STALL_LIMIT_S:.0f} s ({first_s:.0f} s before the first one)"
            found = FailReason.TIMEOUT, f"{name} made no step for {limits} and was killed"
        case "cpu_limit":
            used = f"{phase.cpu_seconds:.1f} CPU seconds"
            found = FailReason.OVER_BUDGET, f"{name} went on past its budget: killed after {used}"
        case "host_oom":
            found = FailReason.OUT_OF_MEMORY, f"{name} was killed for memory of the host: {phase.detail}"
        case "memory_limit":
            found = FailReason.OUT_OF_MEMORY, f"{name}: {phase.detail}"
        case "process_limit" | "disk_limit":
            found = FailReason.CRASHED, f"{name}: {phase.detail}"
        case "stopped":
            pruned = stopped_reason is not None and stopped_reason.startswith("pruned")
            found = FailReason.PRUNED if pruned else FailReason.ABANDONED, stopped_reason or "stopped"
        case "signal":
            found = FailReason.CRASHED, f"{name} died of signal {phase.signal}. {tail}".strip()
        case _:
            reason = EXIT_REASONS.get(phase.exit_code or 0, FailReason.CRASHED)
            found = reason, f"{name} ended with exit code {phase.exit_code}. {tail}".strip()
    return found


def _is_not_set_up(phase: PhaseResult) -> bool:
    """Whether it failed before the candidate's code could begin. The exit code of a candidate is only data."""
    if phase.ready_s is None:
        return phase.exit_code not in (None, 0)
    return not phase.begun and phase.exit_code in NOT_SET_UP


def read_score(folder: TrialFolder) -> Score | str:
    """What the scorer or the grader has written; a sentence where that is no score."""
    fields = read_json(folder.score)
    if fields is None:
        return "the scorer left no score"
    if error := fields.get("error"):
        return str(error)
    try:
        return Score.model_validate(fields)
    except ValidationError as error:
        return f"the scorer left no score: {error}"


def _read_rungs(folder: TrialFolder) -> tuple[tuple[float, float], ...]:
    found = ((fields.get("progress"), fields.get("loss")) for fields in folder.rungs_scored())
    return tuple(
        (float(progress), float(loss))
        for progress, loss in found
        if isinstance(progress, int | float) and isinstance(loss, int | float)
    )
