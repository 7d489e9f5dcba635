"""A right edit in the forms in which models write one is the edit; what has no end or no one meaning is not guessed."""

import contextlib
import difflib
import json
import time
from collections.abc import Mapping

import pytest
from factories.briefings import PROGRAM, briefing, view

from swarm.program import constants, several
from workers.proposers.blocks import parse_edits
from workers.proposers.edits import Edit, EditFailed, apply_edits
from workers.proposers.reply import MAX_ANSWER_CHARS, parse_header, read_envelope

OLD, NEW = "CLASSES = 100", "CLASSES = 10"
EDITED = PROGRAM.replace(OLD, NEW)
HEAD = '{"hypothesis": "fewer", "family": "other", "cites": []}\n'
DIFF = "".join(difflib.unified_diff(PROGRAM.splitlines(True), EDITED.splitlines(True), "a/train.py", "b/train.py"))


def block(
    old: str = OLD, new: str = NEW, *, marks: tuple[str, str, str] = ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE")
) -> str:
    opened, middle, closed = marks
    return f"{HEAD}{opened}\n{old}\n{middle}\n{new}\n{closed}\n"


def said(**fields: object) -> str:
    return json.dumps({"hypothesis": "fewer", **fields})


def parameters(first: str, old: str, second: str, new: str) -> str:
    return f"{HEAD}<parameter{first}>{old}</parameter>\n<parameter{second}>{new}</parameter>"


PAIR = {"search": OLD, "replace": NEW}
FORMS: Mapping[str, str] = {
    # marks
    "marks of git": block(marks=("<<<<<<< HEAD", "=======", ">>>>>>> a-branch")),
    "marks alone": block(marks=("<<<<<<<", "=======", ">>>>>>>")),
    "old and new": block(marks=("<<<<<<< OLD", "=======", ">>>>>>> NEW")),
    "before and after": block(marks=("<<<<<<< BEFORE", "=======", ">>>>>>> AFTER")),
    "nine of each": block(marks=("<<<<<<<<< SEARCH", "=========", ">>>>>>>>> REPLACE")),
    "ten of each": block(marks=("<<<<<<<<<< SEARCH", "==========", ">>>>>>>>>> REPLACE")),
    "three of each": block(marks=("<<< SEARCH", "===", ">>> REPLACE")),
    "no blank": block(marks=("<<<<<<<SEARCH", "=======", ">>>>>>>REPLACE")),
    "a word in the middle": block(marks=("<<<<<<< SEARCH", "======= REPLACE", ">>>>>>> REPLACE")),
    "a rule in the middle": block(marks=("<<<<<<< SEARCH", "-------", ">>>>>>> REPLACE")),
    "the wrong word at the end": block(marks=("<<<<<<< SEARCH", "=======", ">>>>>>> SEARCH")),
    "the wrong marks at the end": block(marks=("<<<<<<< SEARCH", "=======", "<<<<<<< REPLACE")),
    "the word alone at the end": block(marks=("<<<<<<< SEARCH", "=======", "REPLACE")),
    "a second middle at the end": block(marks=("<<<<<<< SEARCH", "=======", "=======")),
    "a fence at the end": block(marks=("<<<<<<< SEARCH", "=======", "```")),
    "marks on both sides": block(marks=("<<<<<<< SEARCH >>>>>>>", "=======", ">>>>>>> REPLACE <<<<<<<")),
    "a full stop": block(marks=("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE.")),
    "bold marks": block(marks=("**<<<<<<< SEARCH**", "**=======**", "**>>>>>>> REPLACE**")),
    "marks as code": block(marks=("`<<<<<<< SEARCH`", "`=======`", "`>>>>>>> REPLACE`")),
    "marks as comments": block(marks=("# <<<<<<< SEARCH", "# =======", "# >>>>>>> REPLACE")),
    "wide marks": block(marks=("\uff1c" * 7 + " SEARCH", "\uff1d" * 7, "\uff1e" * 7 + " REPLACE")),
    "blanks of another kind in marks": block(marks=("<<<<<<<\u00a0SEARCH", "\u200b=======", ">>>>>>>\u00a0REPLACE")),
    "a line's number in the mark": block(marks=("<<<<<<< SEARCH:8", "=======", ">>>>>>> REPLACE")),
    "a line's number below the mark": block(f":start_line:8\n-------\n{OLD}"),
    "tags of a page around": HEAD + "<pre>" + block().removeprefix(HEAD).strip() + "</pre>",
    "each half in a fence": block(f"```python\n{OLD}\n```", f"```python\n{NEW}\n```"),
    "dots for what stays": block(f"{OLD}\n...\n    build_model()", f"{NEW}\n...\n    build_model()"),
    # the whole answer
    "a quotation": "\n".join(f"> {line}" for line in block().split("\n")),
    "other line ends": block().replace("\n", "\u2028"),
    "old Macintosh's line ends": block().replace("\n", "\r"),
    "colours of a terminal": block().replace("<<<", "\x1b[31m<<<").replace("CH\n", "CH\x1b[0m\n"),
    "words for a header": "**Hypothesis:** fewer\n**Family:** other\n" + block().removeprefix(HEAD),
    "YAML for a header": "---\nhypothesis: fewer\nfamily: other\n---\n" + block().removeprefix(HEAD),
    # diffs
    "a diff's lines alone": f"{HEAD}```diff\n-{OLD}\n+{NEW}\n```",
    "a diff without hunks": f"{HEAD}```diff\n--- a/train.py\n+++ b/train.py\n-{OLD}\n+{NEW}\n```",
    "a diff with what is added first": f"{HEAD}```diff\n@@\n+{NEW}\n-{OLD}\n```",
    "the same without a fence": f"{HEAD}--- a/train.py\n+++ b/train.py\n-{OLD}\n+{NEW}\n",
    "a diff within JSON": said(diff=DIFF),
    # pairs
    "tags": f"{HEAD}<search>\n{OLD}\n</search>\n<replace>\n{NEW}\n</replace>",
    "tags in capitals": f"{HEAD}<SEARCH>\n{OLD}\n</SEARCH>\n<REPLACE>\n{NEW}\n</REPLACE>",
    "tags on one line": f"{HEAD}<old_str>{OLD}</old_str><new_str>{NEW}</new_str>",
    "tags in brackets": f"{HEAD}[SEARCH]\n{OLD}\n[/SEARCH]\n[REPLACE]\n{NEW}\n[/REPLACE]",
    "tags with fences": f"{HEAD}<original>\n```python\n{OLD}\n```\n</original>\n<updated>\n```\n{NEW}\n```\n</updated>",
    "a tool's parameters": parameters(' name="old_str"', OLD, ' name="new_str"', NEW),
    "parameters of another tool": parameters("=old_str", f"\n{OLD}\n", "=new_str", f"\n{NEW}\n"),
    "labels": f"{HEAD}SEARCH:\n```python\n{OLD}\n```\nREPLACE:\n```python\n{NEW}\n```",
    "bold labels": f"{HEAD}**Old code:**\n```python\n{OLD}\n```\n\n**New code:**\n```python\n{NEW}\n```",
    "labels in words": f"{HEAD}Replace this code:\n```\n{OLD}\n```\nwith this:\n```\n{NEW}\n```",
    "labels, before and after": f"{HEAD}### Before\n```\n{OLD}\n```\n### After\n```\n{NEW}\n```",
    # JSON
    "one edit": said(edits=PAIR),
    "an edit that is the object": said(**PAIR),
    "edits under another name": said(changes=[PAIR]),
    "names of a tool": said(edits=[{"old_str": OLD, "new_str": NEW}]),
    "names in another case": said(edits=[{"oldText": OLD, "newText": NEW}]),
    "names in capitals": said(edits=[{"SEARCH": OLD, "REPLACE": NEW}]),
    "from and to": said(edits=[{"from": OLD, "to": NEW}]),
    "a list alone": json.dumps([PAIR]),
    "a tool's call": json.dumps({"name": "edit", "arguments": {"old_string": OLD, "new_string": NEW}}),
    "a call whose arguments are a text": json.dumps({"name": "edit", "arguments": json.dumps(PAIR)}),
    "a call between tags": f"<tool_call>\n{json.dumps({'arguments': PAIR})}\n</tool_call>",
    "an object a line": f"{HEAD}{json.dumps(PAIR)}\n",
    "line feeds as they are": said(edits=[{"search": f"{OLD}\n", "replace": f"{NEW}\n"}]).replace("\\n", "\n"),
    "a block as a text": said(edit=block().removeprefix(HEAD)),
    "blocks as texts": said(edits=[block().removeprefix(HEAD)]),
    "the file as a text": said(code=EDITED),
    "values of constants": said(constants={"CLASSES": 10}),
    # the whole file
    "a fence with the file's name": f"{HEAD}```train.py\n{EDITED}```",
    "a fence with language and name": f"{HEAD}```python:train.py\n{EDITED}```",
    "the file, explained": f"{HEAD}Before:\n```\nCLASSES\n```\nAfter:\n```\nfewer\n```\nAll:\n```python\n{EDITED}```",
    "a block without its end in a fence": f"{HEAD}```\n{block().removeprefix(HEAD).split('>>>')[0]}```\nThat is all.",
    "the file behind its header": f"{HEAD}\n{EDITED}",
}


@pytest.mark.parametrize("answer", FORMS.values(), ids=FORMS.keys())
def test_it_is_the_same_edit(answer: str) -> None:
    assert read_envelope(answer, briefing()).source == EDITED


def test_a_typesetters_quotes_are_quotes_where_the_program_has_such() -> None:
    answer = block("ACTIVATION = “relu”", "ACTIVATION = “gelu”")
    changed = constants.changed(PROGRAM, read_envelope(answer, briefing()).source)
    assert changed == {"ACTIVATION": ("relu", "gelu")}


TOML = 'KIND = "short"  # search: {"short", "long"}\nCOUNT = 2  # search: int(0, 10)\n\n[texts]\nshort = "Say it."\n'


@pytest.mark.parametrize("fence", ["```toml", "```", "```prompt.toml", "```toml:prompt.toml", "```toml title=x"])
def test_the_whole_file_is_in_a_fence_of_its_own_language(fence: str) -> None:
    told = briefing(incumbent=view(TOML), editable="prompts/prompt.toml")
    edited = TOML.replace("Say it.", "Say it in a word.")
    assert read_envelope(f"{HEAD}{fence}\n{edited}```", told).source == edited
    with pytest.raises(EditFailed, match="no SEARCH/REPLACE block"):
        read_envelope(f"{HEAD}```python\n{edited}```", told)


@pytest.mark.parametrize("fields", [{"COUNT": 3}, {"settings": {"COUNT": 3}}, {"family": "other", "COUNT": 3}])
def test_values_of_a_file_that_is_no_program(fields: dict[str, object]) -> None:
    told = briefing(incumbent=view(TOML), editable="prompts/prompt.toml")
    assert read_envelope(said(**fields), told).source == TOML.replace("COUNT = 2", "COUNT = 3")


def test_edits_of_several_calls_are_all_made() -> None:
    other = {"old_string": "EMA = False", "new_string": "EMA = True"}
    calls = "\n".join(f"<tool_call>{json.dumps({'arguments': one})}</tool_call>" for one in (PAIR, other))
    assert read_envelope(calls, briefing()).source == EDITED.replace("EMA = False", "EMA = True")


def test_an_edit_as_json_is_made_in_the_file_that_it_names() -> None:
    program = several.joined({"fit.py": "RATE = 1\nSAME = 0\n", "lib/model.py": "DEPTH = 2\nSAME = 0\n"})
    told = briefing(incumbent=view(program))
    edit = {"search": "SAME = 0", "replace": "SAME = 5"}
    edited = read_envelope(said(edits=[{"path": "lib/model.py", **edit}]), told).source
    assert several.files_of(edited, "") == {"fit.py": "RATE = 1\nSAME = 0\n", "lib/model.py": "DEPTH = 2\nSAME = 5\n"}
    with pytest.raises(EditFailed, match="stand 2 times"):
        read_envelope(said(edits=[edit]), told)
    with pytest.raises(EditFailed, match=r"names 'grade\.py'; only"):
        read_envelope(said(edits=[{"file": "grade.py", **edit}]), told)


def test_groups_of_a_diff_stand_each_where_they_stand() -> None:
    rate = "MAX_LR = 1e-2  # search: log(1e-4, 1e-1)"
    answer = f"{HEAD}```diff\n-{rate}\n+{rate.replace('1e-2', '2e-2')}\n-{OLD}\n+{NEW}\n```"
    assert read_envelope(answer, briefing()).source == EDITED.replace("1e-2", "2e-2")


@pytest.mark.parametrize(
    "header", ["Hypothesis: fewer", "- **hypothesis**: fewer", '"hypothesis": "fewer"', "`hypothesis`: `fewer`"]
)
def test_a_hypothesis_on_a_line_of_its_own_is_one(header: str) -> None:
    found = parse_header(f"{header}\nfamily: loss\n")
    assert found is not None and (found.hypothesis, found.family) == ("fewer", "loss")


REFUSED: Mapping[str, tuple[str, str]] = {
    "no end": (block(marks=("<<<<<<< SEARCH", "=======", "")), ">>>>>>> REPLACE' is missing"),
    "no middle": (block(marks=("<<<<<<< SEARCH", "", ">>>>>>> REPLACE")), "=======' is missing"),
    "a middle of fewer marks": (block(marks=("<<<<<<< SEARCH", "===", ">>>>>>> REPLACE")), "=======' is missing"),
    "a ruler of the file in what is looked for": (block("Title\n=======\nText", "Titles"), "two lines '======='"),
    "the same, cut off": (f"{HEAD}<<<<<<< SEARCH\nTitle\n=======\nText\n=======\nTit", "REPLACE' is missing"),
    "cut off behind a fence of the file": (f"{HEAD}<<<<<<< SEARCH\n{OLD}\n=======\nA\n```\nB", "REPLACE' is missing"),
    "a fence without an end": (f"{HEAD}```python\n{EDITED}", "no SEARCH/REPLACE block"),
    "a command": (f"{HEAD}```bash\nsed -i 's/{OLD}/{NEW}/' train.py\n```", "no SEARCH/REPLACE block"),
    "words": (f"{HEAD}Change `{OLD}` to `{NEW}`.", "no SEARCH/REPLACE block"),
    "code without a place": (f"{HEAD}```python\n{NEW}\n```", "neither"),
    "code that is not said to be new": (f"{HEAD}Old:\n```\n{OLD}\n```\nMind:\n```\n{NEW}\n```", "neither"),
    "a tag without its partner": (f"{HEAD}<old>{OLD}</old> and then <new>{NEW}</new>", "no SEARCH/REPLACE block"),
    "constants that there are not": (said(constants={"CLASSES": 10, "NOISE": 1}), "no SEARCH/REPLACE block"),
    "a value that no program can have": ('{"MAX_LR": Infinity}', "cannot be set"),
    "half of a character": (said(edits=[{"search": OLD, "replace": "CLASSES = '\ud800'"}]), "not usable"),
    "dots on one side": (block(f"{OLD}\n...\n    build_model()", NEW), "do not leave lines out"),
}


@pytest.mark.parametrize(("answer", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_end_or_no_one_meaning_goes_back_to_the_model(answer: str, reason: str) -> None:
    with pytest.raises(EditFailed, match=reason):
        read_envelope(answer, briefing())


def test_fences_of_the_file_itself_are_quoted_like_other_lines() -> None:
    edits = parse_edits(block("```\ncode\n```", "code"), "notes.md")
    assert apply_edits("a\n```\ncode\n```\nb\n", edits) == "a\ncode\nb\n"


def test_rulers_of_a_program_are_no_marks() -> None:
    program = 'A = 1\n# =======\nB = 2\n"""\n=====\n>>> A\n"""\n'
    edits = parse_edits(block("A = 1\n# =======\nB = 2", "A = 3\n# =======\nB = 4"), "train.py")
    assert apply_edits(program, edits) == program.replace("A = 1", "A = 3").replace("B = 2", "B = 4")
    edits = parse_edits(block('"""\n=====\n>>> A', '"""\n=====\n>>> B'), "train.py")
    assert edits == [Edit('"""\n=====\n>>> A', '"""\n=====\n>>> B')]


PIECES = (
    "\n",
    "<a>",
    "``` ",
    "<<<<<<< SEARCH\n",
    "<old>",
    "[SEARCH]",
    "```\n",
    "@@\n",
    '{"',
    "> ",
    "hypothesis: ",
    "…\n",
    "</parameter>",
    '["',
)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("rest", ["", "x", "`"])
def test_the_longest_answer_of_one_piece_is_read_soon(piece: str, rest: str) -> None:
    """Work that grows by the square would take a minute here."""
    began = time.process_time()
    for start in ("", f"<<<<<<< SEARCH\n{OLD}\n=======\n"):
        answer = start + piece * MAX_ANSWER_CHARS
        with contextlib.suppress(EditFailed):
            read_envelope(answer[: MAX_ANSWER_CHARS - 1] + rest, briefing())
    assert time.process_time() - began < 10
