"""Where a program comes from: its parent, its ancestors, its commit, and what it changed. Pure.

Whoever asks reads git and passes on what was there: refs as a mapping from trial to commit, sources as texts.
"""

import difflib
from collections.abc import Mapping
from pathlib import PurePosixPath

from swarm.program import several
from swarm.study.state import Program, StudyState

NO_REFS: Mapping[str, str] = {}


def parent_of(study: StudyState, program: Program) -> Program | None:
    """None for the baseline. A claim may name a replicate as its parent; the program is what counts."""
    if program.parent is None or program.parent not in study.trials:
        return None
    return study.program_of(program.parent)


def ancestors(study: StudyState, program: Program) -> list[Program]:
    """Parent, grandparent and so on up to the baseline; no program twice."""
    chain: dict[str, Program] = {}
    parent = parent_of(study, program)
    while parent is not None and parent.name not in chain:
        chain[parent.name] = parent
        parent = parent_of(study, parent)
    return list(chain.values())


def commit_of(study: StudyState, program: Program, refs: Mapping[str, str] = NO_REFS) -> str | None:
    """The commit of a program's text: the study's base for the baseline, else what its trials recorded, else its ref.

    `refs` are the study's, trial id to commit: between a claim and the start of its trial only they know the commit.
    None when the author died between the claim and the commit, or no `refs` were given.
    """
    if program is study.baseline:
        return study.opened.base_commit
    recorded = (trial.commit for trial in program.trials)
    return next(filter(None, recorded), None) or refs.get(program.name)


def diff(before: str, after: str, path: str) -> str:
    """The change from one text of the file at `path` to another, in the unified form that `git apply` takes. Of several
    files `path` is their folder."""
    if several.is_several(before):
        old, new = several.files_of(before, ""), several.files_of(after, "")
        names = sorted(old.keys() | new.keys())
        changed = [name for name in names if old.get(name) != new.get(name)]
        return "".join(_diff(old.get(name), new.get(name), str(PurePosixPath(path) / name)) for name in changed)
    return _diff(before, after, path)


def _diff(old: str | None, new: str | None, path: str) -> str:
    before, after = old or "", new or ""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), *_names(old, new, path)
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _names(old: str | None, new: str | None, path: str) -> tuple[str, str]:
    """A file that is new or gone is /dev/null on the other side."""
    return "/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}"
