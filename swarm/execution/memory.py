"""What a trial asks of its device's memory, and what its ending says about it. Pure."""

import math
from dataclasses import replace

from swarm.admission import Ending, Infeasible, Observed, Released, Request, Retry
from swarm.execution import Outcome
from swarm.records import FailReason, Operator, ProposalClaimed
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState

OTHER_PHASES_S = 420.0  # walltime limits of stage, predict and score together
FIRST_HOST_RAM_MIB = 4096  # a process with CUDA's libraries and the data set; not measured on a card
HOST_RAM_MARGIN = 1.25
BATCH_CONSTANT = "BATCH_SIZE"  # memory grows with it


def host_ram_mib(study: StudyState, settings: RunSettings) -> int:
    """RAM to reserve for a trial on a GPU: a quarter more than any trial of the study has held, a guess before the
    first. 0 on a CPU, where the device's memory is the RAM."""
    if settings.device == "cpu":
        return 0
    used = (trial.finished.resources for trial in study.finished_trials() if trial.finished)
    peaks = [item.host_peak_mib for item in used if item is not None and item.host_peak_mib is not None]
    return math.ceil(HOST_RAM_MARGIN * max(peaks)) if peaks else FIRST_HOST_RAM_MIB


def request_of(claim: ProposalClaimed, settings: RunSettings, agent_id: str, host_ram_mib: int = 0) -> Request:
    """The first request for a trial that `agent_id` runs. The profile's figure counts until something is measured."""
    return Request(
        agent_id=agent_id,
        trial_id=claim.trial_id,
        study_id=settings.study_id,
        walltime_limit_s=settings.budget.walltime_limit_s + OTHER_PHASES_S,
        alone=settings.gpu_mode == "exclusive",
        code_sha256=claim.tree_sha256,
        parents=(claim.parent_tree_sha256,) if claim.parent_tree_sha256 else (),
        batch_ratio=_batch_ratio(claim),
        structural=claim.operator is Operator.STRUCTURAL,
        profile_mib=settings.memory_mib,
        cpu_slots=settings.threads if settings.device == "cpu" else 1,
        host_ram_mib=host_ram_mib,
    )


def probe_request(request: Request, walltime_limit_s: float) -> Request:
    """For the few steps before the trial. Without the code's name, because they are no run that others learn from."""
    return replace(request, walltime_limit_s=walltime_limit_s, code_sha256="", parents=())


def informed(request: Request, probe: Outcome | None, released: Released) -> Request:
    """The request after its probe, None for one that was lost. Steps that did not fit say that the training will not
    fit either; any other failure says nothing."""
    if probe is not None and probe.reason is None:
        return replace(request, probe_mib=probe.peak_mib)
    if released.ending in (Ending.OWN_CAP, Ending.OVER_RESERVATION) and isinstance(released.following, Retry):
        return replace(request, memory_mib=released.following.memory_mib, alone=released.following.alone)
    return request


def observed(outcome: Outcome, *, over_reservation: bool) -> Observed:
    """What the admission controller learns from an ending."""
    failed = next((phase for phase in outcome.result.phases if phase.ending != "ok"), None)
    return Observed(
        peak_mib=outcome.peak_mib,
        alloc_retries=outcome.train.alloc_retries or 0,
        out_of_memory=outcome.reason is FailReason.OUT_OF_MEMORY,
        report=outcome.oom,
        host_oom=failed is not None and failed.ending == "host_oom",
        signal=failed.signal if failed is not None and failed.ending == "signal" else None,
        over_reservation=over_reservation,
        failed=failed is not None,
        cap_lifted=outcome.train.cap_lifted,
    )


def with_verdict_of_memory(outcome: Outcome, released: Released) -> Outcome:
    """A trial that did not fit, even alone, is infeasible: a result that proposers read."""
    if isinstance(released.following, Infeasible):
        return replace(outcome, score=None, reason=FailReason.INFEASIBLE, detail=released.following.reason)
    return outcome


def _batch_ratio(claim: ProposalClaimed) -> float:
    """How much larger the batch is than the parent's; 1 where that is not known."""
    before, after = claim.constants_changed.get(BATCH_CONSTANT, (None, None))
    if isinstance(before, int) and isinstance(after, int) and before > 0:
        return after / before
    return 1.0
