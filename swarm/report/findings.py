"""What a study learnt beside its results: what led and fell, what did not help, what could not run, where it stalls."""

from collections import Counter
from collections.abc import Iterator, Sequence

from swarm.records import FailReason
from swarm.report.section import Section
from swarm.report.words import many, moment
from swarm.study.state import StudyState, Trial
from swarm.target.objective import UNKNOWN
from swarm.verdict.plateau import PLATEAU, plateau_of
from swarm.verdict.standing import Change, Standing, changes, standing

MOST_REFUSALS = 20
DIAGNOSIS = "diagnosis"  # topic of the notes that a plateau is given
_INFEASIBLE = frozenset({FailReason.OUT_OF_MEMORY, FailReason.INFEASIBLE})
_STILL = frozenset({Standing.LEADING, Standing.KEPT})


def led_and_fell(study: StudyState) -> Section:
    """Programs that once led and neither lead nor are kept, the newest first."""
    history: dict[str, list[Change]] = {}
    for change in changes(study):
        history.setdefault(change.program, []).append(change)
    rows = tuple(
        _fallen(study, told)
        for name, told in reversed(history.items())
        if any(one.standing is Standing.LEADING for one in told) and standing(study, study.programs[name]) not in _STILL
    )
    note = "A lead rests on few runs and flatters; most of what leads is its luckiest program of the moment."
    columns = ("program", "led from", "gain then", "gain now", "standing", "why", "change")
    return Section("What led and fell", note, columns, rows, "No program has lost a lead.")


def negative_findings(study: StudyState) -> Section:
    """Discarded programs, gathered by family, clearest first."""
    discarded = [p for p in study.programs.values() if standing(study, p) is Standing.DISCARDED]
    judged = sorted(((p, p.verdict) for p in discarded if p.verdict is not None), key=lambda pair: pair[1].probability)
    families = Counter(program.first.claim.family for program, _ in judged)
    rows = tuple(
        (p.first.claim.family, p.name, study.objective.change(verdict.delta), p.first.claim.description, verdict.why)
        for p, verdict in judged
    )
    told = ", ".join(f"{count} {family}" for family, count in families.most_common())
    columns = ("family", "program", "delta", "change", "why")
    note = f"Clearest first. {told}." if rows else ""
    return Section("What did not help", note, columns, rows, "Nothing has been discarded.")


def failures(study: StudyState) -> Section:
    """Trials that gave no result and neither ran out of memory nor were ended early."""
    failed = [t for t in _without_result(study) if t.reason not in _INFEASIBLE and t.reason is not FailReason.PRUNED]
    rows = tuple(_failed(trial) for trial in failed)
    columns = ("trial", "reason", "change", "detail")
    return Section("Failed trials", _reasons(failed), columns, rows, "None.")


def infeasible(study: StudyState) -> Section:
    """Trials that needed more memory than there was. A result, and workers read it as one."""
    short = [trial for trial in _without_result(study) if trial.reason in _INFEASIBLE]
    rows = tuple((*_failed(trial)[:2], _reserved(trial), *_failed(trial)[2:]) for trial in short)
    columns = ("trial", "reason", "reserved", "change", "detail")
    return Section("Infeasible: too large for the device", _reasons(short), columns, rows, "None.")


def ended_early(study: StudyState) -> Section:
    """Trials that early stopping ended: hopeless against their parent's own rungs, and no failures."""
    pruned = [trial for trial in _without_result(study) if trial.reason is FailReason.PRUNED]
    rows = tuple((row[0], row[2], row[3]) for row in map(_failed, pruned))
    note = f"{many(len(pruned), 'trial')} ended before their budget was spent; no result, and no failure."
    return Section("Ended early", note if rows else "", ("trial", "change", "why"), rows, "None.")


def refusals(study: StudyState) -> Section:
    counts = Counter(rejection.code for rejection in study.rejections)
    note = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    if len(study.rejections) > MOST_REFUSALS:
        note += f". The last {MOST_REFUSALS}:"
    rows = tuple((r.agent_id, r.code, r.description, r.detail) for r in study.rejections[-MOST_REFUSALS:])
    return Section("Refused before they cost training", note, ("worker", "code", "proposal", "why"), rows, "None.")


def plateau(study: StudyState) -> Section:
    """The diagnoses that were written when nothing took the lead, and what ended the search, the newest first."""
    rows = tuple(
        (moment(note.at), note.agent_id, note.description, note.detail)
        for note in reversed(study.notes)
        if note.topic in (DIAGNOSIS, PLATEAU)
    )
    columns = ("when", "from", "diagnosis", "detail")
    empty = "No diagnosis was written: one comes after five proposals without a new leader."
    told = plateau_of(study)
    ended = f"The search ended early, at a plateau: {told}. " if told is not None else ""
    return Section("Where it stalled, and why", ended + _since_last_lead(study), columns, rows, empty)


def _fallen(study: StudyState, told: Sequence[Change]) -> tuple[str, ...]:
    led = next(one for one in told if one.standing is Standing.LEADING)
    program = study.programs[led.program]
    then = next((v for v in study.verdicts if v.seq == led.seq and v.program == led.program), None)
    now = program.verdict
    return (
        led.program,
        moment(led.at),
        study.objective.change(then.delta) if then is not None else UNKNOWN,
        study.objective.change(now.delta) if now is not None else UNKNOWN,
        standing(study, program),
        told[-1].why,
        program.first.claim.description,
    )


def _without_result(study: StudyState) -> Iterator[Trial]:
    yield from (trial for trial in study.finished_trials() if trial.reason is not None)


def _failed(trial: Trial) -> tuple[str, ...]:
    assert trial.reason is not None and trial.finished is not None
    detail = trial.finished.detail.partition("\n")[0]
    return trial.trial_id, trial.reason.value, trial.claim.description, detail


def _reserved(trial: Trial) -> str:
    return UNKNOWN if trial.started is None else f"{trial.started.reservation_mib:,} MiB"


def _reasons(trials: Sequence[Trial]) -> str:
    counts = Counter(trial.reason.value for trial in trials if trial.reason is not None)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def _since_last_lead(study: StudyState) -> str:
    led = [change for change in changes(study) if change.standing is Standing.LEADING]
    since = led[-1].seq if led else 0
    ended = sum(
        trial.finished is not None and trial.finished.seq > since and study.program_of(trial.trial_id).first is trial
        for trial in study.trials.values()
    )
    when = f"{led[-1].program} took the lead at {moment(led[-1].at)}" if led else "Nothing has led"
    return f"{when}; {many(ended, 'program')} ended since."
