"""What a trial asks of its device's memory, and what the ending of an attempt says about it. Pure."""

import math
from dataclasses import replace

from swarm.admission import Ending, Observed, Released, Request, Retry
from swarm.execution.attempt import Attempt
from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.records import BESIDE_TRAINING_S, FailReason, Operator, ProposalClaimed
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState

OTHER_PHASES_S = 420.0  # walltime limits of stage, predict and score together
FIRST_HOST_RAM_MIB = 4096  # a process with CUDA's libraries and the data set; not measured on a card
HOST_RAM_MARGIN = 1.25
BATCH_CONSTANT = "BATCH_SIZE"  # memory grows with it


def evidence_of(claim: ProposalClaimed, study: StudyState, settings: RunSettings) -> MemoryEvidence:
    """What the study knows of a program's memory before it has run."""
    return MemoryEvidence(
        code_sha256=claim.tree_sha256,
        parents=(claim.parent_tree_sha256,) if claim.parent_tree_sha256 else (),
        batch_ratio=_batch_ratio(claim),
        structural=claim.operator is Operator.STRUCTURAL,
        profile_mib=settings.memory_mib,
        host_ram_mib=_host_ram_mib(study, settings),
    )


def _host_ram_mib(study: StudyState, settings: RunSettings) -> int:
    """A quarter more than any trial of the study has held, a guess before the first."""
    if settings.device == "cpu":
        return 0
    used = (trial.finished.resources for trial in study.finished_trials() if trial.finished)
    peaks = [item.host_peak_mib for item in used if item is not None and item.host_peak_mib is not None]
    return math.ceil(HOST_RAM_MARGIN * max(peaks)) if peaks else FIRST_HOST_RAM_MIB


def _batch_ratio(claim: ProposalClaimed) -> float:
    """How much larger the batch is than the parent's; 1 where that is not known."""
    before, after = claim.constants_changed.get(BATCH_CONSTANT, (None, None))
    if isinstance(before, int) and isinstance(after, int) and before > 0:
        return after / before
    return 1.0


def request_of(order: TrialOrder) -> Request:
    """The first request for a trial. The profile's figure counts until something is measured."""
    return Request(
        agent_id=order.agent_id,
        trial_id=order.trial_id,
        study_id=order.study_id,
        walltime_limit_s=order.budget.walltime_limit_s + OTHER_PHASES_S,
        alone=order.alone,
        code_sha256=order.memory.code_sha256,
        parents=order.memory.parents,
        batch_ratio=order.memory.batch_ratio,
        structural=order.memory.structural,
        profile_mib=order.memory.profile_mib,
        cpu_slots=order.threads if order.device == "cpu" else 1,
        host_ram_mib=order.memory.host_ram_mib,
        most_tenants=_most_tenants(order),
    )


def _most_tenants(order: TrialOrder) -> int:
    """Each tenant of a card may take the budget's seconds for itself while the others wait, so that the walltime limit
    is good for so many; 0 where the budget is not counted as if alone."""
    if order.device != "cuda" or order.budget.kind != "solo_seconds":
        return 0
    return max(1, int((order.budget.walltime_limit_s - BESIDE_TRAINING_S) // order.budget.amount))


def probe_request(request: Request, walltime_limit_s: float) -> Request:
    """For the few steps before the trial. Without the code's name, because they are no run that others learn from."""
    return replace(request, walltime_limit_s=walltime_limit_s, code_sha256="", parents=())


def informed(request: Request, probe: Attempt | None, released: Released) -> Request:
    """The request after its probe, None for one that was lost. Steps that did not fit say that the training will not
    fit either; any other failure says nothing."""
    if probe is not None and probe.reason is None:
        return replace(request, probe_mib=probe.peak_mib)
    if released.ending in (Ending.OWN_CAP, Ending.OVER_RESERVATION) and isinstance(released.following, Retry):
        return replace(request, memory_mib=released.following.memory_mib, alone=released.following.alone)
    return request


def observed(attempt: Attempt, *, over_reservation: bool) -> Observed:
    """What the admission controller learns from an ending."""
    failed = attempt.failed_phase
    return Observed(
        peak_mib=attempt.peak_mib,
        alloc_retries=attempt.train.alloc_retries or 0,
        out_of_memory=attempt.reason is FailReason.OUT_OF_MEMORY,
        report=attempt.oom,
        host_oom=failed is not None and failed.ending == "host_oom",
        signal=failed.signal if failed is not None and failed.ending == "signal" else None,
        over_reservation=over_reservation,
        failed=failed is not None,
        cap_lifted=attempt.train.cap_lifted,
    )
