"""The rules in their order, cheapest and plainest first.

The gate's border is total: whatever a check of a program raises is a refusal of that program, with a class and a text.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

from swarm.errors import Escaped, TargetError, contained
from swarm.gate.answers import Passed, Refusal, Tried
from swarm.gate.files import check_files
from swarm.gate.novelty import check_novelty
from swarm.gate.program import check_program, import_effects, imports_of
from swarm.program import constants
from swarm.program.source import parse_module
from swarm.program.tree import tree_sha256
from swarm.records import TargetTerms

MAX_CHANGED_LINES = 400
MAX_CHANGED_CONSTANTS = 40
MAX_WARNINGS = 8


SEALED = TargetTerms()


def check(source: str, parent_source: str, tried: Sequence[Tried], terms: TargetTerms = SEALED) -> Refusal | Passed:
    """Whether the edited program `source` may run, given its parent and what the study has claimed so far.

    Modules that the parent imports are allowed: they were a person's choice. A program that the gate cannot check is
    refused with the code `unchecked`.
    """
    answer = contained(lambda: _check(source, parent_source, tried, terms))
    return _unchecked(answer) if isinstance(answer, Escaped) else answer


def check_base(source: str, terms: TargetTerms = SEALED) -> Refusal | None:
    """Whether a target's own program can be a study's first: all that `check` asks of a program, but any import."""
    answer = contained(lambda: _check_base(source, terms))
    return _unchecked(answer) if isinstance(answer, Escaped) else answer


def _unchecked(escaped: Escaped) -> Refusal:
    return Refusal("unchecked", f"the gate cannot check this program ({escaped.text}): write it more plainly")


def _check(source: str, parent_source: str, tried: Sequence[Tried], terms: TargetTerms) -> Refusal | Passed:
    refusal = _by_itself(source, imports_of(parent_source), terms)
    if refusal is not None:
        return refusal
    try:
        tree = tree_sha256(source)
    except TargetError as error:
        return Refusal("syntax", str(error))
    parent_tree = tree_sha256(parent_source)
    if tree == parent_tree:
        return Refusal(
            "no_change",
            "apart from comments, docstrings and layout this is the parent program: change what it does",
        )
    added, removed = changed_lines(parent_source, source)
    if added + removed > MAX_CHANGED_LINES:
        return Refusal(
            "too_large",
            f"the edit adds {added} and removes {removed} lines; {MAX_CHANGED_LINES} together are allowed: change one "
            "thing at a time, so that its effect can be told",
        )
    changes = constants.changed(parent_source, source)
    if len(changes) > MAX_CHANGED_CONSTANTS:
        return Refusal(
            "too_large",
            f"the edit sets, adds or removes {len(changes)} constants; {MAX_CHANGED_CONSTANTS} together are allowed: "
            "change one thing at a time, so that its effect can be told",
        )
    refusal = check_novelty(tree, changes, parent_source, parent_tree, tried)
    return refusal or Passed(tree, changes, added, removed, _few(_warnings(source, parent_source, terms)))


def _by_itself(source: str, also_allowed: frozenset[str], terms: TargetTerms) -> Refusal | None:
    """Whether a program keeps the rules that need no other program."""
    return check_program(source, also_allowed=also_allowed) if terms.grade == "sealed" else check_files(source, terms)


def _check_base(source: str, terms: TargetTerms) -> Refusal | None:
    try:
        own = imports_of(source)
    except TargetError as error:
        return Refusal("syntax", f"the program is not valid: {error}")
    return _by_itself(source, own, terms)


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """(added, removed) lines of a line diff; an edited line counts as both."""
    old, new = before.splitlines(), after.splitlines()
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    kept = sum(block.size for block in blocks)
    return len(new) - kept, len(old) - kept


def _few(warnings: list[str]) -> tuple[str, ...]:
    left_out = len(warnings) - MAX_WARNINGS
    return (*warnings[:MAX_WARNINGS], *([f"and {left_out} more like these"] if left_out > 0 else []))


def _warnings(source: str, parent_source: str, terms: TargetTerms) -> list[str]:
    warnings = list(import_effects(parse_module(source))) if terms.grade == "sealed" else []
    before, now = constants.parse(parent_source), constants.parse(source)
    for name, constant in now.items():
        if constant.space is None:
            if name in before and before[name].space is not None:
                warnings.append(f"line {constant.line}: {name} has lost its search comment and is tuned no more")
        elif not constant.space.contains(constant.value):
            warnings.append(f"line {constant.line}: {name} = {constant.value} lies outside of its own search space")
    gone = [name for name, constant in before.items() if constant.space is not None and name not in now]
    return warnings + [f"{name} is no constant any more and is tuned no more" for name in gone]
