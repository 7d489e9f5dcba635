"""Folds a study into one briefing, as far as the worker's memory arm lets it see."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from swarm.program import constants
from swarm.program.globs import is_single
from swarm.records import ProposalClaimed, Scalar
from swarm.study.lineage import ancestors, commit_of, diff, parent_of
from swarm.study.state import Program, StudyState
from swarm.verdict.merges import Merge
from swarm.verdict.standing import WITHOUT_RESULT, Standing, standing
from workers.briefing.values import Attempt, Briefing, Conflict, Memory, ProgramView

MAX_ALTERNATIVES = 7
MAX_NEAREST = 12
MAX_FINDINGS = 8
MAX_STEERING = 20  # the latest; an older veto is enforced and no longer told
RESTARTS = 5  # attempts on another lineage's best program before the next lineage has its turn


def compute_briefing(
    study: StudyState,
    *,
    agent_id: str,
    role: Literal["climber", "jumper"],
    program_text: str,
    read_source: Callable[[str], str],
    read_seq: int,
    memory: Memory,
    seed: int,
    sigma: float | None,
    cooled_families: Sequence[str] = (),
    diagnosis: str | None = None,
    memory_limit_mib: int | None = None,
    refusal: str | None = None,
    attempts_left: int = 1,
    restart: bool = False,
    conflict: Merge | None = None,
) -> Briefing:
    """The study as one worker may see it.

    `read_source(commit)` gives the text of the editable file; it is called for the baseline, the incumbent and at most
    seven alternatives, so it should remember its answers. `restart` puts the best other lineage in the incumbent's
    place, if the worker's memory knows one that was not tried enough. `attempts` holds all of them: samplers learn from
    each, and the renderer bounds what a model is shown. What a person steers reaches every arm; what workers learned
    does not.

    Raises ValueError when nothing was claimed yet, and TargetError when the baseline is not Python.
    """
    baseline, incumbent = study.baseline, study.incumbent
    if baseline is None or incumbent is None:
        raise ValueError(f"study {study.study_id} has no baseline yet: there is nothing to propose on")
    view = _Views(study, read_source)
    attempts = _remembered(_attempts(study, view.source(baseline)), memory, agent_id, study.opened.seed)
    knows = memory in ("shared", "own")
    taken = _line(study, incumbent)
    start = view.of(incumbent)
    others = [view.of(study.programs[name], told) for name, told in _alternatives(attempts, taken, study)]
    other = _restart_point(others, attempts) if restart else None
    if other is not None:
        start, others = other, [start, *(one for one in others if one is not other)]
    return Briefing(
        study_id=study.study_id,
        agent_id=agent_id,
        role=role,
        program_text=program_text,
        editable=study.opened.editable,
        objective=study.objective,
        read_seq=read_seq,
        sigma=sigma,
        incumbent=start,
        left=incumbent.name if other is not None else None,
        alternatives=tuple(others),
        attempts=attempts,
        nearest=_nearest(study, study.programs[start.trial_id], attempts),
        cooled_families=tuple(cooled_families) if knows else (),
        diagnosis=diagnosis if knows else None,
        steering=tuple(_steering(study))[-MAX_STEERING:],
        findings=_findings(study, agent_id, memory),
        conflict=_conflict(study, conflict, view) if conflict is not None else None,
        refusal=refusal,
        memory_limit_mib=memory_limit_mib,
        workers=study.opened.workers,
        budget=study.opened.budget,
        seed=seed,
        attempts_left=attempts_left,
    )


def _conflict(study: StudyState, merge: Merge, view: "_Views") -> Conflict:
    base, theirs = study.programs[merge.base], study.programs[merge.theirs]
    where = study.opened.editable if is_single(study.opened.terms) else "."
    return Conflict(
        ours=merge.ours,
        theirs=merge.theirs,
        description=theirs.first.claim.description,
        diff=diff(view.source(base), view.source(theirs), where),
    )


class _Views:
    """Programs with their texts; each commit is read once."""

    def __init__(self, study: StudyState, read_source: Callable[[str], str]) -> None:
        self._study = study
        self._read = read_source
        self._sources: dict[str, str] = {}

    def source(self, program: Program) -> str:
        commit = commit_of(self._study, program)
        assert commit is not None  # it has a result, so a trial of it was started
        if commit not in self._sources:
            self._sources[commit] = self._read(commit)
        return self._sources[commit]

    def of(self, program: Program, told: Attempt | None = None) -> ProgramView:
        """`told`: what the memory arm says about it, in place of its own results."""
        source = self.source(program)
        return ProgramView(
            trial_id=program.name,
            source=source,
            cost=told.cost if told else program.mean,
            replicates=told.replicates if told else len(program.costs),
            constants={name: constant.value for name, constant in constants.parse(source).items()},
            lineage=tuple(one.name for one in reversed(ancestors(self._study, program))),
            peak_mib=told.peak_mib if told else _peak_mib(program),
        )


def _attempts(study: StudyState, base_source: str) -> list[Attempt]:
    """All programs but the baseline. Their constants follow from the claims: a child has its parent's and its changes.

    That spares one read of git for each attempt.
    """
    base = {name: constant.value for name, constant in constants.parse(base_source).items()}
    values: dict[str, dict[str, Scalar]] = {}
    attempts = []
    for program in study.programs.values():
        parent = parent_of(study, program)
        claim = program.first.claim
        values[program.name] = _changed(values[parent.name], claim) if parent and parent.name in values else base
        if parent is not None:
            attempts.append(_attempt(study, program, parent, values[program.name]))
    return attempts


def _attempt(study: StudyState, program: Program, parent: Program, values: dict[str, Scalar]) -> Attempt:
    claim = program.first.claim
    word = standing(study, program)
    reasons = [trial.reason for trial in program.trials if trial.reason is not None]
    known = program.mean is not None and parent.mean is not None
    return Attempt(
        trial_id=program.name,
        agent_id=claim.agent_id,
        operator=claim.operator,
        family=claim.family,
        description=claim.description,
        parent=parent.name,
        parent_cost=parent.mean,
        constants=values,
        changed=claim.constants_changed,
        cost=program.mean,
        replicates=len(program.costs),
        delta=program.mean - parent.mean if known else None,  # type: ignore[operator]
        standing=word,
        reason=reasons[-1].value if reasons and word in WITHOUT_RESULT else None,
        peak_mib=_peak_mib(program),
    )


def _remembered(attempts: list[Attempt], memory: Memory, agent_id: str, seed: int) -> tuple[Attempt, ...]:
    if memory == "off":
        return ()
    if memory == "own":
        return tuple(attempt for attempt in attempts if attempt.agent_id == agent_id)
    return tuple(_shuffled(attempts, seed) if memory == "shuffled" else attempts)


_RESULT = ("parent_cost", "cost", "delta", "replicates", "standing", "reason", "peak_mib")


def _shuffled(attempts: list[Attempt], seed: int) -> list[Attempt]:
    """Each finished attempt gets the whole result of another one; with one alone there is nothing to exchange.

    Seeded by the study, so that two briefings on the same brain agree.
    """
    finished = [index for index, attempt in enumerate(attempts) if not attempt.running]
    order = random.Random(seed).sample(finished, len(finished))
    shuffled = list(attempts)
    for to, source in zip(order, order[1:] + order[:1], strict=True):  # one cycle: none keeps its own
        result = {name: getattr(attempts[source], name) for name in _RESULT}
        shuffled[to] = attempts[to].model_copy(update=result)
    return shuffled


def _alternatives(attempts: Sequence[Attempt], taken: set[str], study: StudyState) -> list[tuple[str, Attempt]]:
    """Programs that helped and are neither the incumbent nor of its line; one of each line, best first."""
    helped = [
        attempt
        for attempt in attempts
        if attempt.cost is not None
        and attempt.delta is not None
        and attempt.delta < 0
        and attempt.standing is not Standing.DISCARDED
        and attempt.trial_id not in taken
    ]
    chosen: list[tuple[str, Attempt]] = []
    covered: set[str] = set()
    for attempt in sorted(helped, key=_by_cost):
        line = _line(study, study.programs[attempt.trial_id]) - taken
        if not line & covered:
            chosen.append((attempt.trial_id, attempt))
            covered |= line
    return chosen[:MAX_ALTERNATIVES]


def _restart_point(others: Sequence[ProgramView], attempts: Sequence[Attempt]) -> ProgramView | None:
    """The best of the other lineages on which fewer than five attempts were made; None when there is none."""
    made = Counter(attempt.parent for attempt in attempts)
    return next((view for view in others if made[view.trial_id] < RESTARTS), None)


def _nearest(study: StudyState, start: Program, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Attempts that touch what the program's line touched, or that were made on it; most related first.

    Weights: made on the program 3, of its line 3, each constant in common 2, a family in common 1. Newer wins ties.
    """
    line = _line(study, start)
    claims = [study.programs[name].first.claim for name in line]
    touched = {name for claim in claims for name in claim.constants_changed}
    families = {claim.family for claim in claims if claim.parent is not None}

    def relation(attempt: Attempt) -> int:
        on_line = 3 * (attempt.parent == start.name) + 3 * (attempt.trial_id in line)
        return on_line + 2 * len(touched & attempt.changed.keys()) + (attempt.family in families)

    newest_first = attempts[::-1]
    ranked = sorted(newest_first, key=relation, reverse=True)
    return tuple(attempt.trial_id for attempt in ranked if relation(attempt) > 0)[:MAX_NEAREST]


def _steering(study: StudyState) -> Iterable[str]:
    """A person's words that hold: vetoes until they are lifted."""
    for steer in study.steers:
        if steer.action in ("pin", "boost", "note") or steer is study.vetoes.get(steer.subject):
            value = "" if steer.value is None else f"{steer.value:g}"
            head = " ".join(filter(None, (steer.action, steer.subject, value)))
            yield ": ".join(filter(None, (head, steer.description)))


def _findings(study: StudyState, agent_id: str, memory: Memory) -> tuple[str, ...]:
    if memory in ("off", "shuffled"):
        return ()
    notes = [note for note in study.notes if memory == "shared" or note.agent_id == agent_id]
    return tuple(note.description for note in notes if note.topic == "finding")[-MAX_FINDINGS:]


def _line(study: StudyState, program: Program) -> set[str]:
    """Its name and those of its ancestors."""
    return {program.name, *(one.name for one in ancestors(study, program))}


def _changed(values: dict[str, Scalar], claim: ProposalClaimed) -> dict[str, Scalar]:
    child = dict(values)
    for name, (_, new) in claim.constants_changed.items():
        if new is None:
            child.pop(name, None)
        else:
            child[name] = new
    return child


def _peak_mib(program: Program) -> int | None:
    peaks = [
        trial.finished.resources.peak_mib
        for trial in program.trials
        if trial.finished and trial.finished.resources and trial.finished.resources.peak_mib is not None
    ]
    return max(peaks, default=None)


def _by_cost(attempt: Attempt) -> float:
    assert attempt.cost is not None
    return attempt.cost
