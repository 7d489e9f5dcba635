"""Folds a study into one briefing, as far as the worker's memory arm lets it see."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal

from swarm.program import constants
from swarm.program.globs import is_single
from swarm.records import Operator
from swarm.study.lineage import ancestors, commit_of, diff, parent_of
from swarm.study.state import Program, StudyState
from swarm.verdict.merges import Merge
from swarm.verdict.standing import Standing
from workers.briefing.attempts import all_attempts, peak_mib, remembered
from workers.briefing.earlier import earlier_results
from workers.briefing.told import MAX_DIFFS, facts_of, failure_of, short_diff, shown
from workers.briefing.values import Attempt, Briefing, Conflict, Crash, Memory, ProgramView, Shown

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
    lot: Memory | None = None,
    seed: int,
    sigma: float | None,
    cooled_families: Sequence[str] = (),
    diagnosis: str | None = None,
    memory_limit_mib: int | None = None,
    refusal: str | None = None,
    refused: str | None = None,
    attempts_left: int = 1,
    restart: bool = False,
    conflict: Merge | None = None,
    repair: str | None = None,
    look: str | None = None,
    jump: str | None = None,
    may_ask: bool = False,
    studies: Iterable[StudyState] = (),
) -> Briefing:
    """The study as one worker may see it.

    `read_source(commit)` gives the text of the editable file; it is called for the baseline, the incumbent and at most
    seven alternatives, so it should remember its answers. `restart` puts the best other lineage in the incumbent's
    place, if the worker's memory knows one that was not tried enough. `attempts` holds all of them: samplers learn from
    each, and the renderer bounds what a model is shown. `studies` are the brain's: a worker with the shared
    memory gets the results of those before this one that measured the same thing. What a person steers reaches every
    arm; what workers learned does not.

    `lot` says that `memory` was drawn by lot, for the record. `refused` is the text of the answer that was refused.
    `repair` names a program of the worker's own that crashed: its text is then the program to change, on its parent.
    `look` and `jump` are what the proposer has asked for: to see another program's change, or to build on it.

    Raises ValueError when nothing was claimed yet, and TargetError when the baseline is not Python.
    """
    baseline, incumbent = study.baseline, study.incumbent
    if baseline is None or incumbent is None:
        raise ValueError(f"study {study.study_id} has no baseline yet: there is nothing to propose on")
    view = _Views(study, read_source)
    attempts = remembered(all_attempts(study, view.source(baseline)), memory, agent_id, study.opened.seed)
    knows = memory in ("shared", "own")
    taken = _line(study, incumbent)
    start = view.of(incumbent)
    others = [view.of(study.programs[name], told) for name, told in _alternatives(attempts, taken, study)]
    known = {attempt.trial_id for attempt in attempts}
    jumped = jump is not None and jump in known and bool(study.programs[jump].costs)
    other = view.of(study.programs[str(jump)]) if jumped else _restart_point(others, attempts) if restart else None
    if other is not None:
        start, others = other, [start, *(one for one in others if one.trial_id != other.trial_id)]
    crash = _crash(study, repair, view)
    if crash is not None:
        start = _in_place_of(study, study.programs[crash.trial_id], crash.source, view)
    nearest = _nearest(study, study.programs[start.trial_id], attempts)
    return Briefing(
        study_id=study.study_id,
        agent_id=agent_id,
        role=role,
        program_text=program_text,
        editable=study.opened.editable,
        terms=study.opened.terms,
        objective=study.objective,
        read_seq=read_seq,
        sigma=sigma,
        incumbent=start,
        left=incumbent.name if other is not None and crash is None else None,
        jumped=jumped,
        alternatives=tuple(others),
        attempts=attempts,
        earlier=earlier_results(study, studies, read_source) if memory == "shared" else (),
        nearest=nearest,
        diffs=_diffs(study, nearest, attempts, view),
        looked_at=shown(study, look, view.source) if look is not None and look in known else None,
        may_ask=may_ask and knows,
        crash=crash,
        facts=facts_of(study.programs[start.trial_id]),
        device=study.opened.device_name,
        data=study.opened.data,
        cooled_families=tuple(cooled_families) if knows else (),
        diagnosis=diagnosis if knows else None,
        steering=tuple(_steering(study))[-MAX_STEERING:],
        findings=_findings(study, agent_id, memory),
        conflict=_conflict(study, conflict, view) if conflict is not None else None,
        refusal=refusal,
        refused=short_diff(start.source, refused) if refused is not None else None,
        memory_limit_mib=memory_limit_mib,
        workers=study.opened.workers,
        budget=study.opened.budget,
        seed=seed,
        attempts_left=attempts_left,
        lot=lot,
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


def _crash(study: StudyState, name: str | None, view: "_Views") -> Crash | None:
    if name is None or name not in study.programs:
        return None
    program, change = study.programs[name], shown(study, name, view.source)
    if change is None:
        return None
    return Crash(trial_id=name, source=view.source(program), diff=change.diff, failure=failure_of(program))


def _in_place_of(study: StudyState, program: Program, source: str, view: "_Views") -> ProgramView:
    """The parent's place and results, with the text that is to be mended."""
    parent = parent_of(study, program)
    assert parent is not None  # a baseline is nobody's to mend
    values = {name: constant.value for name, constant in constants.parse(source).items()}
    return view.of(parent).model_copy(update={"source": source, "constants": values})


def _diffs(study: StudyState, nearest: Sequence[str], attempts: Sequence[Attempt], view: "_Views") -> tuple[Shown, ...]:
    """Of the nearest that changed more than constants: what those changed stands in their records."""
    told = {attempt.trial_id: attempt for attempt in attempts}
    structural = (name for name in nearest if told[name].operator != Operator.TUNE and not told[name].running)
    found = (shown(study, name, view.source) for name in structural)
    return tuple(islice((one for one in found if one is not None and one.diff), MAX_DIFFS))


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
            peak_mib=told.peak_mib if told else peak_mib(program),
        )


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


def _by_cost(attempt: Attempt) -> float:
    assert attempt.cost is not None
    return attempt.cost
