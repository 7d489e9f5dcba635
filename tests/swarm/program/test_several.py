"""A program of several files as one text: what goes in comes out, and each question about a program has an answer."""

import tomllib
from pathlib import Path

import pytest

from swarm import gate
from swarm.errors import MergeConflict, TargetError
from swarm.gate import Refusal
from swarm.program import constants, several
from swarm.program.globs import may_change
from swarm.program.source import parse_module
from swarm.program.tree import tree_sha256
from swarm.records import TargetTerms
from swarm.repo.merging import merge_text
from swarm.study.lineage import diff

FIT = "LR = 0.1  # search: log(1e-3, 1.0)\n\n\ndef main():\n    return LR\n"
MODEL = "from __future__ import annotations\n\nDEPTH = 3  # search: int(1, 8)\n"
FILES = {"fit.py": FIT, "lib/model.py": MODEL, "prompt.txt": "Say it.\n"}
PROGRAM = several.joined(FILES)
TERMS = TargetTerms(grade="graded", editable=("*.py", "lib/*.py", "*.txt"), closed=("private",), max_files=4)


def test_files_go_in_and_come_out() -> None:
    assert several.files_of(PROGRAM, "") == FILES
    assert several.joined(several.files_of(PROGRAM, "")) == PROGRAM
    assert several.files_of(FIT, "train.py") == {"train.py": FIT}, "one Python file is its own text"


def test_constants_are_read_and_set_where_they_stand() -> None:
    assert {name: one.value for name, one in constants.parse(PROGRAM).items()} == {"LR": 0.1, "DEPTH": 3}
    changed = constants.assign(PROGRAM, {"DEPTH": 5, "LR": 0.2})
    assert several.files_of(changed, "")["lib/model.py"] == MODEL.replace("3", "5", 1)
    assert constants.changed(PROGRAM, changed) == {"LR": (0.1, 0.2), "DEPTH": (3, 5)}
    twice = several.joined({"a.py": "N = 1\n", "b.py": "N = 2\n"})
    assert constants.parse(twice) == {}, "which of the two it is, nobody could say"


def test_its_identity_is_what_each_file_does() -> None:
    commented = several.joined({**FILES, "fit.py": "# a comment\n" + FIT, "prompt.txt": "Say it.  \n\n"})
    assert tree_sha256(commented) == tree_sha256(PROGRAM)
    for other in ({"prompt.txt": "Say it twice.\n"}, {"fit.py": FIT.replace("0.1", "0.3")}, {"new.py": "x = 1\n"}):
        assert tree_sha256(several.joined({**FILES, **other})) != tree_sha256(PROGRAM)
    moved = {("other.py" if path == "fit.py" else path): text for path, text in FILES.items()}
    assert tree_sha256(several.joined(moved)) != tree_sha256(PROGRAM)


def test_a_mistake_is_named_by_its_line_in_the_whole_text() -> None:
    broken = several.joined({**FILES, "lib/model.py": "def f(:\n"})
    line = broken.split("\n").index("def f(:") + 1
    with pytest.raises(TargetError, match=rf"line {line}: "):
        parse_module(broken)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up.py", "a//b.py", ".git/hooks/x", "a/./b.py"])
def test_no_mark_leads_out_of_the_folder(path: str) -> None:
    with pytest.raises(TargetError, match="no path inside"):
        several.parts(f"{several.mark(path)}\nx = 1\n")
    with pytest.raises(TargetError, match="twice"):
        several.parts(f"{several.mark('a.py')}\n{several.mark('a.py')}\n")
    with pytest.raises(TargetError, match="as a mark"):
        several.joined({"a.py": several.mark("b.py") + "\n"})


def test_a_merge_goes_file_by_file() -> None:
    ours = several.joined({**FILES, "fit.py": FIT.replace("0.1", "0.2")})
    theirs = several.joined({**FILES, "lib/model.py": MODEL.replace("3", "6", 1), "lib/new.py": "A = 1\n"})
    merged = several.files_of(merge_text(PROGRAM, ours, theirs), "")
    assert merged["fit.py"] == FIT.replace("0.1", "0.2") and merged["lib/new.py"] == "A = 1\n"
    assert merged["lib/model.py"] == MODEL.replace("3", "6", 1)
    gone = several.joined({path: text for path, text in FILES.items() if path != "fit.py"})
    assert "fit.py" not in several.files_of(merge_text(PROGRAM, gone, theirs), "")
    with pytest.raises(MergeConflict, match=r"removes fit\.py"):
        merge_text(PROGRAM, gone, ours)
    with pytest.raises(MergeConflict, match="overlap"):
        merge_text(PROGRAM, ours, several.joined({**FILES, "fit.py": FIT.replace("0.1", "0.7")}))


def test_a_diff_is_one_a_file_that_git_takes(tmp_path: Path) -> None:
    new = several.joined({"fit.py": FIT.replace("0.1", "0.2"), "prompt.txt": FILES["prompt.txt"], "n.py": "x = 1\n"})
    text = diff(PROGRAM, new, "models/toy")
    assert "--- a/models/toy/fit.py" in text and "+++ b/models/toy/n.py" in text and "prompt.txt" not in text
    assert "--- /dev/null" in text and "+++ /dev/null" in text


def changed(**files: str) -> str:
    return several.joined({**FILES, **{name.replace("__", "/"): text for name, text in files.items()}})


def test_the_gate_keeps_to_the_globs_and_the_limits() -> None:
    def refused(program: str) -> str:
        answer = gate.check(program, PROGRAM, [], TERMS)
        return f"{answer.code}: {answer.detail}" if isinstance(answer, Refusal) else ""

    better = several.joined({**FILES, "fit.py": FIT.replace("0.1", "0.4")})
    assert not refused(better), "imports, files and seeds are the sandbox's business here"
    assert refused(several.joined({**FILES, "private/true.json": "[]\n"})).startswith("scope: private/true.json")
    assert refused(several.joined({**FILES, "other/x.py": "x = 1\n"})).startswith("scope: other/x.py")
    assert "5 files; 4 are allowed" in refused(several.joined({**FILES, "a.py": "x = 1\n", "b.py": "x = 2\n"}))
    assert "bytes are allowed" not in refused(better)
    assert refused(several.joined({**FILES, "fit.py": "x = 1\n" * 5000})).startswith("too_large")
    assert "keep the lines that mark files" in refused(FIT)
    single = TERMS.model_copy(update={"editable": ("fit.py",)})
    assert isinstance(gate.check(PROGRAM, FIT, [], single), Refusal)
    assert not isinstance(gate.check(FIT.replace("0.1", "0.4"), FIT, [], single), Refusal)


@pytest.mark.parametrize(
    ("path", "may"),
    [("fit.py", True), ("lib/model.py", True), ("lib/deep/x.py", False), ("target.toml", False),
     ("outputs/a.py", False), ("private/a.py", False), (".hidden.py", False), ("lib/.x.py", False)],
)  # fmt: skip
def test_what_may_change(path: str, may: bool) -> None:
    assert may_change(path, TERMS.model_copy(update={"editable": ("*.py", "lib/*.py", "*.toml", "*/a.py")})) is may


PROMPT = """# Settings
TEMPERATURE = 0.7  # search: linear(0, 1.5)
ORDER = "item \\"last\\""  # search: {"item first", "item last"}

text = \"\"\"
HIDDEN = 3  # search: int(1, 9)
\"\"\"

[wordings]
SHORT = 2  # search: int(1, 3)
"""
TEXTS = several.joined({"prompt.toml": PROMPT})


def test_settings_at_the_head_of_a_toml_file_are_constants() -> None:
    assert {name: one.value for name, one in constants.parse(TEXTS).items()} == {
        "TEMPERATURE": 0.7,
        "ORDER": 'item "last"',
    }
    changed = constants.assign(TEXTS, {"TEMPERATURE": 0.25, "ORDER": "item first"})
    told = several.files_of(changed, "")["prompt.toml"]
    assert told == PROMPT.replace("0.7", "0.25").replace(r'"item \"last\""', '"item first"', 1)
    assert tomllib.loads(told)["TEMPERATURE"] == 0.25
    assert constants.changed(TEXTS, changed) == {"TEMPERATURE": (0.7, 0.25), "ORDER": ('item "last"', "item first")}


def test_a_toml_file_is_what_its_values_are_and_one_that_is_none_is_refused() -> None:
    same = several.joined({"prompt.toml": "# another comment\n" + PROMPT.replace("0.7 ", "7e-1")})
    assert tree_sha256(same) == tree_sha256(TEXTS)
    assert tree_sha256(several.joined({"prompt.toml": PROMPT.replace("= 2", "= 3")})) != tree_sha256(TEXTS)
    broken = several.joined({"prompt.toml": PROMPT + "x = ]\n"})
    terms = TargetTerms(grade="graded", editable=("prompt.toml",))
    refused = gate.check(broken, TEXTS, [], terms)
    assert isinstance(refused, Refusal) and refused.code == "syntax" and "prompt.toml is no TOML" in refused.detail
    deep = several.joined({"prompt.toml": "a = " + "[" * 3000 + "]" * 3000 + "\n"})
    assert isinstance(gate.check(deep, TEXTS, [], terms), Refusal)
