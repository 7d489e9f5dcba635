"""A program's change as edits, and edits applied to a program. Pure.

What is applied is code and nothing else: new comments and docstrings of foreign edits are taken out, and a foreign
text or name that could speak to a reader refuses the whole. A program that leads is shown to language models with its
source.
"""

import ast
import re
import tokenize
from collections import deque
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from swarm.errors import TargetError
from swarm.program import several
from swarm.program.source import parse_module
from swarm.sharing.finding import MAX_EDITS, Edit

MAX_NAME = 40
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_.,:/+*-]{0,40}")
_NUMBER = r"[+-]?[0-9][0-9_.]{0,20}(?:[eE][+-]?[0-9]{1,3})?"
_CHOICE = rf"(?:{_NUMBER}|True|False|\"[A-Za-z0-9_.-]{{1,16}}\")"
_SEARCH_COMMENT = re.compile(  # the grammar of `swarm.program.constants`, and no sentence behind it
    rf"#[ ]*search:[ ]*(?:(?:log|linear|int)\({_NUMBER},[ ]*{_NUMBER}\)|\{{{_CHOICE}(?:,[ ]*{_CHOICE}){{0,7}}\}})"
)


class Unfit(ValueError):
    """Edits that cannot be made, or would bring more than code. The message says which."""


def edits_between(base: str, program: str, entry: str) -> tuple[Edit, ...]:
    """Edits that make `program` of `base`, each with as many lines around it as make its place the only one. Raises
    Unfit for a change that edits cannot say: a new or a deleted file, or too many places."""
    before, after = several.files_of(base, entry), several.files_of(program, entry)
    if before.keys() != after.keys():
        raise Unfit("it makes or deletes a file, which a finding cannot say")
    edits = [edit for path in before for edit in _edits_of(path, before[path], after[path])]
    if len(edits) > MAX_EDITS:
        raise Unfit(f"it changes {len(edits)} places, limit {MAX_EDITS}")
    return tuple(edits)


def applied(edits: Sequence[Edit], program: str, entry: str) -> str:
    """The program with these edits, as code alone. Raises Unfit."""
    try:
        files = several.files_of(program, entry)
        for edit in edits:
            if edit.path not in files:
                raise Unfit(f"{edit.path} is no file of the program that may change")
        old = dict(files)
        files = {path: _edited(text, [edit for edit in edits if edit.path == path]) for path, text in old.items()}
        coded = {path: code_alone(text, old[path]) if path.endswith(".py") else text for path, text in files.items()}
        if any(coded[path] != old[path] and not path.endswith(".py") for path in coded):
            raise Unfit("it changes a file that is no program text")
        return several.joined(coded) if several.is_several(program) else coded[entry]
    except TargetError as error:
        raise Unfit(str(error)) from None


def code_alone(text: str, before: str) -> str:
    """The text without comments and docstrings that `before` does not have. Raises Unfit for what cannot be read, and
    for a new name or text that is no plain word."""
    stripped = _without_docstrings(_without_comments(text, _comments(before)), before)
    known = set(_words(before))
    for word, is_name in _words(stripped):
        if (word, is_name) in known:
            continue
        if len(word) > MAX_NAME or not (word.isascii() if is_name else _PLAIN_TEXT.fullmatch(word)):
            raise Unfit(f"it brings the text {word[:40]!r}, and new texts are short plain words")
    return stripped


_Span = tuple[int, int, int, int]  # lines of the old text, and those of the new one in their place


def _edits_of(path: str, before: str, after: str) -> Iterator[Edit]:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    changes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    pending = deque((a, b, c, d) for tag, a, b, c, d in changes if tag != "equal")
    done: list[tuple[_Span, _Span]] = []  # each change, and the same with as many lines around it as it needs
    while pending:
        a, b, c, d = pending.popleft()
        floor, ceiling = (done[-1][1][1] if done else 0), (pending[0][0] if pending else len(old))
        low, high = a, b
        while not _is_once(before, old[low:high]) and (low > floor or high < ceiling):
            low, high = max(floor, low - 1), min(ceiling, high + 1)
        if _is_once(before, old[low:high]):
            done.append(((a, b, c, d), (low, high, c - (a - low), d + (high - b))))
        elif pending:
            _, following_b, _, following_d = pending.popleft()
            pending.appendleft((a, following_b, c, following_d))
        elif done:
            (earlier_a, _, earlier_c, _), _ = done.pop()
            pending.appendleft((earlier_a, b, earlier_c, d))
        else:
            done.append(((a, b, c, d), (0, len(old), 0, len(new))))
    for _, (low, high, start, end) in done:
        yield Edit(path=path, search="".join(old[low:high]), replace="".join(new[start:end]))


def _is_once(text: str, lines: Sequence[str]) -> bool:
    wanted = "".join(lines)
    return wanted != "" and text.find(wanted) == text.rfind(wanted)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    """All at once, by their places in the text as it was. Raises Unfit."""
    places = []
    for edit in edits:
        if (found := text.count(edit.search)) != 1 or text.find(edit.search) != text.rfind(edit.search):
            raise Unfit(f"a place in {edit.path} is there {found} times, and must be there once")
        start = text.find(edit.search)
        places.append((start, start + len(edit.search), edit.replace))
    places.sort()
    if any(end > following for (_, end, _), (following, _, _) in pairwise(places)):
        raise Unfit("two of its edits touch one place")
    for start, end, replacement in reversed(places):
        text = text[:start] + replacement + text[end:]
    return text


def _comments(text: str) -> set[str]:
    return {token.string for token in _tokens(text) if token.type == tokenize.COMMENT}


def _without_comments(text: str, known: set[str]) -> str:
    lines = text.splitlines(keepends=True)
    for token in _tokens(text):
        if token.type != tokenize.COMMENT or token.string in known or _SEARCH_COMMENT.fullmatch(token.string):
            continue
        row, column = token.start
        kept = lines[row - 1][:column].rstrip()
        lines[row - 1] = f"{kept}\n" if kept else ""
    return "".join(lines)


def _without_docstrings(text: str, before: str) -> str:
    known = {ast.get_docstring(node, clean=False) for node in _documented(parse_module(before))}
    lines = text.splitlines(keepends=True)
    for node in _documented(parse_module(text)):
        said = node.body[0] if node.body else None
        if said is None or ast.get_docstring(node, clean=False) in known:
            continue
        rest = "pass" if len(node.body) == 1 and not isinstance(node, ast.Module) else ""
        first, last = said.lineno - 1, (said.end_lineno or said.lineno) - 1
        if lines[first][: said.col_offset].strip() or lines[last][said.end_col_offset :].strip():
            raise Unfit("it has a docstring on a line with code")
        indent = " " * said.col_offset
        lines[first] = f"{indent}{rest}\n" if rest else ""
        lines[first + 1 : last + 1] = [""] * (last - first)
    return "".join(lines)


def _documented(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            yield node


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """(word, whether it is a name) of everything in a program that somebody could read as a sentence: names wherever
    they stand, also those of modules, of errors and of patterns."""
    for token in _tokens(text):
        if token.type == tokenize.NAME:
            yield token.string, True
    for node in ast.walk(parse_module(text)):
        match node:
            case ast.Constant(value=str(said)):
                yield said, False
            case ast.Constant(value=bytes(data)):
                yield data.decode("latin-1"), False


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__))
    except (tokenize.TokenError, SyntaxError, IndentationError) as error:
        raise Unfit(f"it is no Python: {error}") from None
