"""Whether a search has come to an end of its gains: how long nothing has taken the lead, and what more may bring. Pure.

What is counted are proposals whose first trial has ended. The rule is a rule of thumb with its odds in
docs/benchmarks.md, and no proof that nothing better exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from swarm.records import Decision, Operator, VerdictReached
from swarm.study.state import Program, StudyState
from swarm.verdict.decisions import study_noise

PLATEAU = "plateau"  # topic of the note that ends a search
FEWEST = 60  # proposals without a new leader
SHARE = 0.5  # of all proposals: a search that gained for long waits as long again


@dataclass(frozen=True, slots=True)
class Plateau:
    """`since` proposals finished after the last one that took the lead, of `all` in the study. `gain` is what that one
    gained on its parent when it first led, as a cost (more is better), None where nothing ever led. `text` says it."""

    since: int
    all: int
    gain: float | None
    text: str

    def __str__(self) -> str:
        return self.text


def plateau(study: StudyState) -> Plateau | None:
    """None while a gain may well come: fewer than FEWEST proposals without a new leader, or less than SHARE of all."""
    noise = study_noise(study)
    ended = in_order_of_ending(study)
    since = stalled_for(study)
    if noise is None or since < FEWEST or since < SHARE * len(ended):
        return None
    led = _last_leading(study)
    gain = max(0.0, -led.delta) if led is not None else None
    text = f"{since} of {len(ended)} proposals finished without a new leader"
    if gain is None:
        return Plateau(since, len(ended), None, f"{text}, and none has ever led")
    expected = expected_gain(gain, since)
    size = study.objective.with_unit(f"{expected:.2g}")
    share = f", {expected / noise.sigma:.2g} of a run's noise" if noise.sigma > 0 else ""
    return Plateau(since, len(ended), gain, f"{text}, expected gain of a further one at most {size}{share}")


def expected_gain(gain: float, since: int) -> float:
    """Of a further proposal, at most about: the last gain, once in as many proposals as have come to nothing since and
    one more. A lead rests on few runs and flatters, so that the gain does too."""
    return gain / (since + 1)


def plateau_of(study: StudyState) -> str | None:
    """What ended the search, if a plateau did and nothing was proposed since."""
    proposed = max((program.first.claim.seq for program in proposals(study)), default=0)
    return next((note.description for note in study.notes if note.topic == PLATEAU and note.seq > proposed), None)


def proposals(study: StudyState) -> list[Program]:
    """Every program but the baseline, in the order of the claims."""
    return [p for p in study.programs.values() if p.first.claim.operator != Operator.BASELINE]


def is_discarded(program: Program) -> bool:
    """Whether it was judged and lost, or never gave a result."""
    if not program.open_trials and not program.costs:
        return True
    return program.verdict is not None and program.verdict.decision == Decision.DISCARD


def stalled_for(study: StudyState) -> int:
    """Proposals that finished after the last new leader, or since the study began."""
    return ended_since(study, last_lead(study))


def last_lead(study: StudyState) -> int:
    """The line in which a program that was not refuted since took the lead, 0 while there is none."""
    led = _last_leading(study)
    return led.seq if led is not None else 0


def ended_since(study: StudyState, seq: int) -> int:
    return sum(_end(program) > seq for program in in_order_of_ending(study))


def in_order_of_ending(study: StudyState) -> Sequence[Program]:
    """Proposals whose first trial has ended."""
    return sorted((p for p in proposals(study) if p.first.finished is not None), key=_end)


def _last_leading(study: StudyState) -> VerdictReached | None:
    first: dict[str, VerdictReached] = {}
    for verdict in study.verdicts:
        if verdict.leads:
            first.setdefault(verdict.program, verdict)
    standing = (one for name, one in first.items() if not is_discarded(study.programs[name]))
    return max(standing, key=lambda one: one.seq, default=None)


def _end(program: Program) -> int:
    assert program.first.finished is not None
    return program.first.finished.seq
