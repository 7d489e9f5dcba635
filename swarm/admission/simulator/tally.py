"""What is counted while a simulation runs, and its summary."""

from dataclasses import dataclass, field
from statistics import mean

from swarm.admission.simulator.policies import PolicyName
from swarm.admission.simulator.report import SimulationReport, Violation
from swarm.admission.simulator.workload import Workload
from swarm.gpu.reading import Attribution


@dataclass(frozen=True, slots=True)
class Setup:
    cards: int
    workers: int
    jobs: int
    seed: int
    policy: PolicyName
    load: Workload
    surge_mib: int | None
    attribution: Attribution
    lost_at_s: float | None = None


@dataclass
class Tally:
    finished: int = 0
    infeasible: int = 0
    device_ooms: int = 0
    own_ooms: int = 0
    kills: int = 0
    crashes: int = 0
    abandoned: int = 0
    lost_work_s: float = 0.0
    used_mib_s: float = 0.0
    most_running: int = 0
    waits: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    decisions: list[float] = field(default_factory=list)


def summarise(
    setup: Setup,
    tally: Tally,
    *,
    makespan_s: float,
    usable_mib: int,
    under_prediction: float | None,
    log_sha256: str,
    violations: tuple[Violation, ...],
) -> SimulationReport:
    waits, decisions = sorted(tally.waits), sorted(tally.decisions)
    return SimulationReport(
        policy=setup.policy,
        cards=setup.cards,
        workers=setup.workers,
        jobs=setup.jobs,
        seed=setup.seed,
        finished=tally.finished,
        infeasible=tally.infeasible,
        device_ooms=tally.device_ooms,
        own_ooms=tally.own_ooms,
        kills=tally.kills,
        crashes=tally.crashes,
        abandoned=tally.abandoned,
        lost_work_s=tally.lost_work_s,
        makespan_s=makespan_s,
        wait_mean_s=mean(waits) if waits else 0.0,
        wait_p99_s=_quantile(waits, 0.99),
        utilisation=tally.used_mib_s / (usable_mib * makespan_s) if makespan_s else 0.0,
        over_reservation=mean(tally.over) if tally.over else None,
        under_prediction_rate=under_prediction,
        most_running=tally.most_running,
        decision_p50_us=1e6 * _quantile(decisions, 0.5),
        decision_p99_us=1e6 * _quantile(decisions, 0.99),
        log_sha256=log_sha256,
        violations=violations,
    )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
