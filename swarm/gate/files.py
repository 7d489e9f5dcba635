"""What a program of a target that is not sealed has to keep by itself: which files, how many, how large, and Python
where a name says Python. What it may do is the sandbox's question."""

from functools import lru_cache

from swarm.errors import TargetError
from swarm.gate.answers import Refusal
from swarm.program import constants, several
from swarm.program.globs import is_single, may_change
from swarm.program.source import parse_module
from swarm.records import TargetTerms


@lru_cache(maxsize=constants.PROGRAMS)
def check_files(program: str, terms: TargetTerms) -> Refusal | None:
    """The first rule that the program breaks."""
    size = len(program.encode(errors="replace"))
    if size > terms.max_bytes:
        detail = f"the program has {size} bytes; {terms.max_bytes} are allowed: make a smaller change"
        return Refusal("too_large", detail)
    if several.is_several(program) is is_single(terms):
        detail = (
            "this target has one file: give its text alone" if is_single(terms) else "keep the lines that mark files"
        )
        return Refusal("syntax", detail)
    try:
        parse_module(program)
        constants.parse(program)
        files = several.files_of(program, terms.editable[0])
    except TargetError as error:
        return Refusal("syntax", f"the program is not valid: {error}")
    if closed := [path for path in files if not may_change(path, terms)]:
        globs = ", ".join(terms.editable)
        return Refusal("scope", f"{closed[0]} may not be changed or made: editable is {globs}. Leave that file out")
    if len(files) > terms.max_files:
        detail = f"the program has {len(files)} files; {terms.max_files} are allowed: put things together"
        return Refusal("too_large", detail)
    return None
