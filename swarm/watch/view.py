"""A study and a reading of this machine, as one Frame. Pure: values in, values out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from swarm import verdict
from swarm.records import WorkerStatus
from swarm.report.events import Event
from swarm.study.devices import device_of
from swarm.study.state import Program, StudyState, Trial
from swarm.study.usage import total_usage, usages_of
from swarm.verdict.finals import deciding_costs
from swarm.verdict.interval import half_width
from swarm.verdict.slots import held_now
from swarm.verdict.standing import WITHOUT_RESULT, Standing, in_order, kept, standing, standing_of_trial
from swarm.watch.frame import (
    SCHEMA_VERSION,
    Card,
    Counts,
    Frame,
    Gain,
    Happened,
    Mean,
    Node,
    Slot,
    Spend,
    Waiting,
)
from swarm.watch.pace import ends_in_s, finals_ahead, forecast, fraction, trials_an_hour

BEST = 12
EVENTS = 40


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a running program last said of itself. It could say anything."""

    progress: float
    step: int
    loss: float
    silent_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the brain does not hold, at one moment. `runs`: the study's orchestrator is alive on this machine.

    `here`: this is the repository that the study was run in; what lies elsewhere is a copy.
    """

    at: float
    runs: bool = False
    here: bool = False
    pulses: dict[str, Pulse] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()
    cards: tuple[Card, ...] = ()
    nodes: tuple[Node, ...] = ()
    max_usd: float | None = None
    max_tokens: int | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What changes only with the brain. Made once for each of its states, since it looks at every trial."""

    study: StudyState
    seq: int
    counts: Counts
    incumbent: Mean | None
    gain: Gain | None
    best: tuple[Mean, ...]
    noise: verdict.NoiseFloor | None
    wall_s: tuple[float, ...]
    last_record_at: float
    events: tuple[Happened, ...]


def facts(study: StudyState, seq: int, events: Sequence[Event]) -> Facts:
    """`events`: the newest last, as many as are to be shown."""
    noise = verdict.study_noise(study)
    incumbent, baseline = study.incumbent, study.baseline
    return Facts(
        study=study,
        seq=seq,
        counts=_counts(study),
        incumbent=_mean(study, incumbent, noise) if incumbent is not None else None,
        gain=_gain(study, incumbent, baseline, noise),
        best=_best(study, noise),
        noise=noise,
        wall_s=_wall_s(study),
        last_record_at=_last_record_at(study, events),
        events=tuple(Happened(event.at, event.text) for event in events[-EVENTS:]),
    )


def frame(known: Facts, reading: Reading) -> Frame:
    """What is to be seen at the moment of the reading."""
    study, opened, now = known.study, known.study.opened, reading.at
    state, why = _state(study, reading)
    rate = trials_an_hour(study, now if state == "running" else min(now, known.last_record_at))
    spend = _spend(study, reading)
    limited = (spend.usd, spend.max_usd) if spend is not None else (None, None)
    spent = (limited[0], limited[1]) if limited[0] is not None and limited[1] is not None else None
    objective = study.objective
    return Frame(
        schema_version=SCHEMA_VERSION,
        at=now,
        seq=known.seq,
        study_id=study.study_id,
        target=opened.target,
        device=device_of(study),
        budget=opened.budget.words,
        data=opened.data,
        state=state,
        why=why,
        began_at=opened.at,
        last_record_at=known.last_record_at,
        objective=objective.name,
        unit=objective.unit,
        digits=objective.digits,
        maximized=objective.maximized,
        grade=opened.terms.grade,
        counts=known.counts,
        incumbent=known.incumbent,
        gain=known.gain,
        best=known.best,
        noise_sigma=known.noise.sigma if known.noise is not None else None,
        noise_degrees=known.noise.degrees if known.noise is not None else 0,
        trials_an_hour=rate,
        end=forecast(study, rate, spent, now) if state in ("running", "copy") else None,
        spend=spend,
        vetoed=tuple(study.vetoes),
        slots=_slots(study, reading, known.wall_s) if state in ("running", "copy") else (),
        waiting=reading.waiting,
        cards=reading.cards,
        trouble=reading.trouble,
        events=known.events,
        finals=finals_ahead(study, rate, now) if state in ("running", "copy") else None,
        nodes=reading.nodes,
    )


def _state(study: StudyState, reading: Reading) -> tuple[str, str]:
    if study.closed is not None:
        return "ended", study.closed.reason
    if reading.runs:
        return "running", ""
    if reading.here:
        return "stopped", "it does not run and has no last line; swarm up --resume goes on"
    return "copy", "seen through its brain alone, without steps and queue"


def _counts(study: StudyState) -> Counts:
    trials = list(study.trials.values())
    ended = [standing_of_trial(study, trial) for trial in trials if trial.reason is not None]
    return Counts(
        trials=len(trials),
        wanted=study.limits.trials,
        complete=sum(trial.cost is not None for trial in trials),
        failed=sum(word is Standing.FAILED for word in ended),
        pruned=sum(word in WITHOUT_RESULT and word is not Standing.FAILED for word in ended),
        open=sum(trial.finished is None for trial in trials),
        refused=len(study.rejections),
        kept=len(kept(study)),
        held=held_now(study),
    )


def _mean(study: StudyState, program: Program, noise: verdict.NoiseFloor | None) -> Mean | None:
    costs = deciding_costs(program)
    if not costs:
        return None
    value, half = study.objective.value(fmean(costs)), _half(noise, len(costs))
    return Mean(
        program=program.name,
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        runs=len(costs),
        standing=standing(study, program),
        description=program.first.claim.description,
    )


def _best(study: StudyState, noise: verdict.NoiseFloor | None) -> tuple[Mean, ...]:
    return tuple(mean for program in in_order(study)[:BEST] if (mean := _mean(study, program, noise)) is not None)


def _gain(
    study: StudyState, incumbent: Program | None, baseline: Program | None, noise: verdict.NoiseFloor | None
) -> Gain | None:
    if incumbent is None or baseline is None or incumbent is baseline:
        return None
    decided = incumbent.verdict
    if decided is not None and decided.finals and decided.delta_low is not None and decided.delta_high is not None:
        return Gain(-decided.delta, -decided.delta_high, -decided.delta_low)
    if incumbent.mean is None or baseline.mean is None:
        return None
    amount = baseline.mean - incumbent.mean
    half = _half(noise, len(incumbent.costs), len(baseline.costs))
    return Gain(amount, None if half is None else amount - half, None if half is None else amount + half)


def _half(noise: verdict.NoiseFloor | None, *runs: int) -> float | None:
    return None if noise is None else half_width(noise, *runs)


def _wall_s(study: StudyState) -> tuple[float, ...]:
    """Of complete trials, from the start of the run to the score."""
    spans = [trial.seconds for trial in study.trials.values() if trial.cost is not None]
    return tuple(span[1] - span[0] for span in spans if span is not None)


def _last_record_at(study: StudyState, events: Sequence[Event]) -> float:
    closed = [study.closed.at] if study.closed is not None else []
    told = [event.at for event in events[-1:]]
    return max(study.opened.at, *(status.at for status in study.workers.values()), *told, *closed, 0.0)


def _spend(study: StudyState, reading: Reading) -> Spend | None:
    """None where no model was asked and no limit is set."""
    total = total_usage(usages_of(study))
    if total is None:
        if reading.max_usd is None and reading.max_tokens is None:
            return None
        return Spend(0.0, reading.max_usd, 0, reading.max_tokens, 0)
    known = total.input_tokens is not None and total.output_tokens is not None
    tokens = (total.input_tokens or 0) + (total.output_tokens or 0) if known else None
    return Spend(total.usd, reading.max_usd, tokens, reading.max_tokens, total.calls)


def _slots(study: StudyState, reading: Reading, past: Sequence[float]) -> tuple[Slot, ...]:
    """A line for each open trial, and one for each worker that has none."""
    slots = []
    agents = {*study.workers, *(trial.claim.agent_id for trial in study.open_trials())}
    for agent_id in sorted(agents):
        status = study.workers.get(agent_id)
        restarts = study.restarts.get(agent_id, 0)
        trials = study.open_trials(agent_id)
        slots += [_busy(trial, status, reading, past, restarts) for trial in trials]
        if not trials:
            doing = status.status if status is not None else "unknown"
            said = status.description if status is not None and doing in ("stopped", "crashed", "cooling") else ""
            slots.append(Slot(agent_id, doing, None, None, None, None, None, None, restarts, said))
    return tuple(slots)


def _busy(trial: Trial, status: WorkerStatus | None, reading: Reading, past: Sequence[float], restarts: int) -> Slot:
    pulse = reading.pulses.get(trial.trial_id)
    progress = fraction(pulse.progress) if pulse is not None else None
    doing = _doing(trial, status, progress)
    return Slot(
        agent_id=trial.claim.agent_id,
        doing=doing,
        trial_id=trial.trial_id,
        progress=progress,
        step=pulse.step if pulse is not None else None,
        loss=pulse.loss if pulse is not None and math.isfinite(pulse.loss) else None,
        silent_s=max(0.0, pulse.silent_s) if pulse is not None and math.isfinite(pulse.silent_s) else None,
        ends_in_s=ends_in_s(trial, progress, past, reading.at),
        restarts=restarts,
        description=trial.claim.description,
        node=trial.started.node if trial.started is not None else "",
    )


def _doing(trial: Trial, status: WorkerStatus | None, progress: float | None) -> str:
    """By the trial's own records first: its worker prepares the next proposal meanwhile and says so."""
    if trial.started is None:
        return "waiting"
    if progress == 1.0 or (status is not None and status.status == "scoring" and status.trial_id == trial.trial_id):
        return "scoring"
    return "training"
