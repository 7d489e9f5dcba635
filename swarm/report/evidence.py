"""What a report shows beside the study's records. Whoever may read files brings it; the report itself reads none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarm.brain import VerifyReport
from swarm.errors import SwarmError
from swarm.records import block
from swarm.study.lineage import ancestors, diff, parent_of
from swarm.study.state import Program, StudyState
from swarm.verdict.certificate import Certificate
from swarm.verdict.standing import Standing, in_order, kept, standing

MOST_PROGRAMS = 24  # whose text is read for their diffs
LONGEST_TEXT = 1 << 19  # characters: twice what a program may have, and comparing takes longer than linear time


@dataclass(frozen=True, slots=True)
class Evidence:
    """`edits`: diffs of programs against their parents. `changes`: against the baseline, which is what one adopts.

    `without`: why a diff is missing, where one is. `chain`: what a check of the brain's file found, None where nobody
    looked. `certificates`: those of this study, oldest first.
    """

    edits: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    without: str = ""
    chain: VerifyReport | None = None
    certificates: tuple[Certificate, ...] = ()


NOTHING = Evidence()


def told(study: StudyState) -> list[Program]:
    """The programs whose changes a report shows: what is kept or leads, and how each came about."""
    shown: dict[str, Program] = {}
    leading = [program for program in in_order(study) if standing(study, program) is Standing.LEADING]
    for program in (*_best_kept(study), *leading):
        for one in (program, *ancestors(study, program)):
            if one is not study.baseline:
                shown[one.name] = one
    return list(shown.values())[:MOST_PROGRAMS]


def gather(
    study: StudyState,
    text_of: Callable[[Program], str],
    *,
    path: str | None = None,
    chain: VerifyReport | None = None,
    certificates: tuple[Certificate, ...] = (),
) -> Evidence:
    """`text_of` gives a program's text, or raises SwarmError when there is none; then the report says so. `path`: where
    the text lies in the repository, for its diffs."""
    edits: dict[str, str] = {}
    changes: dict[str, str] = {}
    path, without = path or f"{study.opened.target_folder}/{study.opened.editable}", ""
    for program in told(study):
        parent, base = parent_of(study, program), study.baseline
        try:
            text = text_of(program)
            for found, before in ((edits, parent), (changes, base)):
                if before is not None:
                    found[program.name] = _change(text_of(before), text, path)
        except SwarmError as error:
            without = str(error)
    return Evidence(edits, changes, without, chain, certificates)


def _change(before: str, after: str, path: str) -> str:
    """Its diff, safe to print: a program comes from a model, perhaps from another machine."""
    if max(len(before), len(after)) > LONGEST_TEXT:
        raise SwarmError(f"a text of more than {LONGEST_TEXT:,} characters is not compared here")
    return block(diff(before, after, path))


def _best_kept(study: StudyState) -> list[Program]:
    return [program for program in in_order(study) if program in kept(study)]
