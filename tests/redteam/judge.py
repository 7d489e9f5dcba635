"""Whether a program got through, and the line that the table shows of it."""

from dataclasses import dataclass

from campaign import RUNG_TOLERANCE, Baseline, Ran
from fakes.redteam_programs.build import Kind

from swarm.records import FailReason

TABLE_VARIABLE = "REDTEAM_TABLE"  # a file for the lines, for whoever starts the tests as somebody else
_EXACT = (Kind.SECRETS, Kind.CROSSING, Kind.POWER)
"""Kinds that leave the training as it is: a score is the honest one to the last digit."""


@dataclass(frozen=True)
class Line:
    """One row of the table: what the record says of a program, and whether it got through."""

    name: str
    kind: str
    record: str
    detail: str
    level: str
    loss: str
    seconds: float
    through: tuple[str, ...]

    def __str__(self) -> str:
        mark = "THROUGH" if self.through else "held"
        words = "; ".join(self.through) or self.detail
        measured = f"{self.loss:>15} {self.level:17.17} {self.seconds:5.1f} s"
        text = f"{mark:7} {self.kind:9} {self.name:62.62} {measured}  {self.record:38.38} {words}"
        return "".join(letter if letter.isprintable() else "?" for letter in text)[:330]


def line_of(ran: Ran, honest: Baseline) -> Line:
    outcome, program = ran.outcome, ran.program
    parts = (
        [str(outcome.reason), *outcome.flags] if outcome and outcome.reason else list(outcome.flags if outcome else ())
    )
    loss = "no score" if ran.loss is None else f"{ran.loss:.3f} ({ran.loss - honest.least:+.3f})"
    detail = shortened(outcome.detail if outcome else ran.error)
    through = tuple(_got_through(ran, honest))
    return Line(program.name, program.kind, " ".join(parts) or "-", detail, ran.level, loss, ran.seconds, through)


def shortened(text: str) -> str:
    """What the record says first, and the last words of the candidate."""
    words = " ".join(text.split())
    return words if len(words) <= 160 else f"{words[:60]} ... {words[-95:]}"


def _got_through(ran: Ran, honest: Baseline) -> list[str]:
    program, outcome = ran.program, ran.outcome
    found = list(ran.harm)
    if outcome is None:
        return [*found, f"ends the study: {ran.error}"]
    if outcome.score is None and outcome.reason is None:
        found.append("neither score nor reason")
    if not program.honest:
        found += ran.worked[:3]
    found += (
        [] if program.may_have_it_all else [line for line in ran.log.splitlines() if line.startswith("never refused")]
    )
    found += _score_problems(ran, honest) + _rung_problems(ran, honest)
    if (
        program.honest
        and program.loses
        and ran.loss is None
        and not any(word in outcome.detail for word in program.loses)
    ):
        found.append(f"the record does not say why: {outcome.reason} {outcome.detail[-100:]!r}")
    return found


def _score_problems(ran: Ran, honest: Baseline) -> list[str]:
    program, outcome, loss = ran.program, ran.outcome, ran.loss
    assert outcome is not None
    if loss is None:
        wrong = program.kind in (Kind.COMPANY, Kind.AHEAD) and outcome.reason is not FailReason.INVALID_OUTPUT
        lost = program.honest and not program.loses
        words = [f"an honest program lost its score: {outcome.reason} {outcome.detail[-120:]!r}"] if lost else []
        words += [f"not called invalid_output but {outcome.reason}"] if wrong else []
        unnamed = program.named and program.named not in outcome.detail
        return words + ([f"the record does not say {program.named!r}: {outcome.detail[-100:]!r}"] if unnamed else [])
    if program.must_fail:
        return [f"has a score, {loss - honest.least:+.3f} against honest"]
    if program.honest:
        return []
    if program.kind in _EXACT and not program.changes_training and loss not in honest.losses:
        return [f"moved its score by {loss - honest.least:+.4f}"]
    if loss < honest.least - honest.tolerance:
        return [f"won {honest.least - loss:.3f} (noise {honest.tolerance:.2f})"]
    return []


def _rung_problems(ran: Ran, honest: Baseline) -> list[str]:
    """A rung that the training did not earn prunes rivals."""
    if ran.outcome is None or ran.program.changes_training or ran.program.honest:
        return []
    found = []
    for progress, loss in ran.outcome.rungs:
        known = honest.rungs.get(progress)
        if known is not None and loss < known - RUNG_TOLERANCE:
            found.append(f"rung {progress:g} says {loss:.3f}, honest {known:.3f}")
        if progress not in ran.program.rungs:
            found.append(f"a rung at {progress:g} that nobody asked for")
    return found
