"""Was the shared memory used? Proposals of models by the memory that a lot gave them, side by side.

A briefing is *shared* (the study as it is), *shuffled* (each record has the whole result of another one) or *off* (no
record of earlier trials). Who gets what is drawn before the model is asked, so that a difference comes of the memory
alone, as far as chance allows. Not promised: that proposals are independent; each also changes what later ones are
told. Shares are compared by Newcombe's interval; the mean change has Student's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from swarm.records import Operator, ProposalRejected
from swarm.report.memory import DUPLICATE_CODES, difference_of_shares, percent
from swarm.report.section import Section
from swarm.study.state import Program, StudyState
from swarm.target.objective import UNKNOWN
from swarm.verdict.interval import t_quantile
from swarm.verdict.standing import Standing, standing

LOTS = ("shared", "shuffled", "off")
MEANINGS = {"shared": "as it is", "shuffled": "results of other records", "off": "no earlier trial"}
FEWEST_FOR_REPEATS = 72  # proposals a lot, for repeats that are halved
FEWEST_FOR_LEADS = 250  # proposals a lot, for a share of leads that is another one


@dataclass(frozen=True, slots=True)
class Lot:
    """What came of the proposals that got one memory. `changes`: costs of programs minus their parents', as judged."""

    name: str
    repeats: tuple[bool, ...]  # one a proposal
    led: tuple[bool, ...]
    kept: int
    changes: tuple[float, ...]

    @property
    def proposals(self) -> int:
        return len(self.repeats)


def lots(study: StudyState) -> list[Lot]:
    """One of each name, or none where nothing was drawn in this study."""
    claims = [
        p for p in study.programs.values() if p.first.claim.memory and p.first.claim.operator != Operator.BASELINE
    ]
    refused = [one for one in study.rejections if one.memory and one.operator is not None]
    return [_lot(study, name, claims, refused) for name in LOTS] if claims or refused else []


def memory_by_lot(study: StudyState) -> Section:
    found = lots(study)
    rows = tuple(_row(study, lot) for lot in found)
    columns = ("memory", "proposals", "refused as repeats", "led", "kept", "mean change against the parent [95 %]")
    empty = "No lot was drawn: no model has proposed with it, or the study's memory is not shared by lot."
    return Section("Was the shared memory used?", _verdict(found) if found else "", columns, rows, empty)


def _lot(study: StudyState, name: str, claims: Sequence[Program], refused: Sequence[ProposalRejected]) -> Lot:
    own = [program for program in claims if program.first.claim.memory == name]
    ever_led = {verdict.program for verdict in study.verdicts if verdict.leads}
    return Lot(
        name=name,
        repeats=(*(False for _ in own), *(one.code in DUPLICATE_CODES for one in refused if one.memory == name)),
        led=tuple(program.name in ever_led for program in own if not program.open_trials),
        kept=sum(standing(study, program) is Standing.KEPT for program in own),
        changes=tuple(p.verdict.delta for p in own if p.verdict is not None),
    )


def _row(study: StudyState, lot: Lot) -> tuple[str, ...]:
    return (
        f"{lot.name} ({MEANINGS[lot.name]})",
        str(lot.proposals),
        _of(sum(lot.repeats), lot.proposals),
        _of(sum(lot.led), len(lot.led)),
        str(lot.kept),
        _mean(study, lot.changes),
    )


def _of(count: int, all_: int) -> str:
    return f"{count} ({percent(count / all_)} of {all_})" if all_ else UNKNOWN


def _mean(study: StudyState, changes: Sequence[float]) -> str:
    """With its interval from two on."""
    if not changes:
        return UNKNOWN
    mean = study.objective.change(fmean(changes))
    if len(changes) < 2:
        return f"{mean}, over 1"
    half = t_quantile(len(changes) - 1) * stdev(changes) / math.sqrt(len(changes))
    return f"{mean} ± {study.objective.size(half)}, over {len(changes)}"


def _verdict(found: Sequence[Lot]) -> str:
    """What the lots say against the shared one, and whether they are enough to say it."""
    shared, *others = found
    told = [
        *(_difference("repeats", shared.name, other.name, shared.repeats, other.repeats) for other in others),
        *(_difference("leads", shared.name, other.name, shared.led, other.led) for other in others),
    ]
    few = min(lot.proposals for lot in found)
    judged = min(len(lot.led) for lot in found)
    words = []
    if few < FEWEST_FOR_REPEATS:
        words.append(
            f"Too few to tell whether it spares repeats: {few} proposals in the smallest lot, and a halving shows from "
            f"about {FEWEST_FOR_REPEATS} on."
        )
    if judged < FEWEST_FOR_LEADS:
        words.append(
            f"Too few to tell whether it makes leads: {judged} in the smallest lot, and it takes about "
            f"{FEWEST_FOR_LEADS}."
        )
    return " ".join([*words, *(text for text in told if text)])


def _difference(what: str, one: str, other: str, ours: Sequence[bool], theirs: Sequence[bool]) -> str:
    lift = difference_of_shares(ours, theirs)
    if lift is None:
        return ""
    mean, low, high = (f"{100 * value:+.0f}" for value in (lift.mean, lift.low, lift.high))
    clear = "clear" if lift.low > 0 or lift.high < 0 else "not clear"
    return f"Share of {what}, {one} minus {other}: {mean} points [{low}, {high}], {clear}."
