"""Which two good changes should be tried in one program? Pure.

A change is judged against its own parent, so it may turn out well when another program leads already. Then what both
have changed since their youngest common ancestor is merged, and the merge is an experiment like any other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from swarm.records import Decision, Operator, ProposalRejected
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState
from swarm.verdict.decisions import PROVISIONAL

CONFLICT = "merge_conflict"
MERGE_SHARE = Fraction(1, 8)  # of the programs tried
CONFLICT_TURNS = 2  # a proposer has for one conflict


@dataclass(frozen=True, slots=True)
class Merge:
    """Programs by name: what `theirs` has changed since `base` is to be applied to `ours`, the incumbent."""

    ours: str
    theirs: str
    base: str

    @property
    def pair(self) -> tuple[str, str]:
        return self.ours, self.theirs


def merge_owed(study: StudyState) -> Merge | None:
    """The best change that helped its own parent and is not in the incumbent, if it was not tried there yet.

    None while merges have their eighth of the programs, and while a trial of the change or another merge of it runs.
    """
    incumbent = study.incumbent
    if incumbent is None or incumbent is study.baseline or not _within_share(study):
        return None
    owed = [program for program in study.programs.values() if _helps_elsewhere(study, program, incumbent)]
    best = max(owed, key=lambda program: program.verdict.probability if program.verdict else 0.0, default=None)
    base = common_ancestor(study, incumbent, best) if best is not None else None
    return Merge(incumbent.name, best.name, base.name) if best is not None and base is not None else None


def conflicts_open(study: StudyState) -> list[Merge]:
    """Merges into the incumbent that no three-way merge could make and nobody has made since, newest first."""
    incumbent = study.incumbent
    if incumbent is None:
        return []
    found = []
    for refusal in reversed(study.rejections):
        if refusal.code != CONFLICT or refusal.merged[:1] != (incumbent.name,):
            continue
        theirs = study.programs.get(refusal.merged[1])
        base = common_ancestor(study, incumbent, theirs) if theirs is not None else None
        if theirs is None or base is None or _claimed(study, refusal.merged):
            continue
        if _turns(study.rejections, refusal.merged) < CONFLICT_TURNS:
            found.append(Merge(incumbent.name, theirs.name, base.name))
    return found


def contents(study: StudyState, program: Program) -> frozenset[str]:
    """Names of all programs whose changes are in it: its ancestors, and what was merged into it and them."""
    line = [program, *ancestors(study, program)]
    names = {one.name for one in line}
    for one in line:
        for merged in one.first.claim.merged:
            if merged in study.programs and merged not in names:
                names |= contents(study, study.programs[merged])
    return frozenset(names)


def common_ancestor(study: StudyState, first: Program, second: Program) -> Program | None:
    """The youngest program that both were made from. None when one is in the other, or they share nothing."""
    line = [first, *ancestors(study, first)]
    other = {second.name, *(one.name for one in ancestors(study, second))}
    if first.name in other or any(one is second for one in line):
        return None
    return next((program for program in line if program.name in other), None)


def _helps_elsewhere(study: StudyState, program: Program, incumbent: Program) -> bool:
    verdict = program.verdict
    if verdict is None or program.open_trials or verdict.decision is Decision.DISCARD:
        return False
    if program.first.claim.operator in (Operator.RECOMBINE, Operator.ABLATE) or verdict.probability < PROVISIONAL:
        return False
    if program.name in contents(study, incumbent) or incumbent.name in contents(study, program):
        return False
    line = {incumbent.name, *(one.name for one in ancestors(study, incumbent))}
    tried = [one.first.claim.merged for one in study.programs.values()]
    tried += [refusal.merged for refusal in study.rejections]
    return not any(program.name in pair and not line.isdisjoint(set(pair) - {program.name}) for pair in tried)


def _within_share(study: StudyState) -> bool:
    """One to begin with, and an eighth of the programs beside the baseline."""
    tried = [program.first.claim for program in study.programs.values() if program is not study.baseline]
    merges = sum(claim.operator is Operator.RECOMBINE for claim in tried)
    return merges + 1 <= max(1, int(MERGE_SHARE * (len(tried) + 1)))


def _claimed(study: StudyState, pair: tuple[str, ...]) -> bool:
    return any(program.first.claim.merged == pair for program in study.programs.values())


def _turns(rejections: Iterable[ProposalRejected], pair: tuple[str, ...]) -> int:
    """Answers to this conflict that came to nothing."""
    return sum(one.merged == pair and one.code != CONFLICT for one in rejections)
