"""SEARCH/REPLACE blocks: what applies, what is refused, and that nothing else in the file moves."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swarm.program import several
from workers.proposers.blocks import parse_edits, whole_file
from workers.proposers.edits import Edit, EditFailed, apply_edits

SOURCE = """\
LR = 0.1
WIDTH = 8


def main():
    model = build_model()
    for step in range(3):
        train(model)
    finish(model)


def other():
    train(model)
"""


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE"


def applied(answer: str, source: str = SOURCE) -> str:
    return apply_edits(source, parse_edits(answer, "train.py"))


def test_an_exact_block_changes_its_lines_only():
    assert applied(block("LR = 0.1", "LR = 0.2")) == SOURCE.replace("0.1", "0.2")


def test_several_blocks_apply_in_order_each_on_the_result_of_the_last():
    answer = block("LR = 0.1", "LR = 0.2\nWD = 0") + "\nand\n" + block("WD = 0", "WD = 1e-4")
    assert applied(answer) == SOURCE.replace("LR = 0.1", "LR = 0.2\nWD = 1e-4")


def test_an_empty_replacement_deletes():
    assert applied("<<<<<<< SEARCH\nWIDTH = 8\n=======\n>>>>>>> REPLACE") == SOURCE.replace("WIDTH = 8\n", "")


@pytest.mark.parametrize("wrap", ["```python\n{}\n```", "train.py\n```\n{}\n```", "```\ntrain.py\n{}\n```", "{}"])
def test_fences_and_the_files_own_name_around_a_block_do_not_matter(wrap):
    assert applied(wrap.format(block("WIDTH = 8", "WIDTH = 9"))) == SOURCE.replace("= 8", "= 9")


def test_a_block_with_less_indentation_is_shifted_with_its_replacement():
    answer = block("for step in range(3):\n    train(model)", "for step in range(9):\n    train(model)\n    log()")
    assert "    for step in range(9):\n        train(model)\n        log()\n    finish" in applied(answer)


def test_a_block_with_more_indentation_is_shifted_back():
    answer = block("    LR = 0.1\n    WIDTH = 8", "    LR = 0.3\n    WIDTH = 8")
    assert applied(answer) == SOURCE.replace("0.1", "0.3")


def test_unlike_indentations_are_not_guessed():
    with pytest.raises(EditFailed, match="not in the file"):
        applied(block("for step in range(3):\ntrain(model)", "pass"))


def test_blank_lines_at_the_edges_of_search_are_dropped():
    assert applied(block("\nfinish(model)\n", "\nfinish(model, 1)\n")) == SOURCE.replace(
        "finish(model)", "finish(model, 1)"
    )


def test_an_ambiguous_block_is_refused_with_the_places():
    with pytest.raises(EditFailed, match=r"2 times in the file \(lines 8, 13\)"):
        applied(block("train(model)", "train(model, 2)"))


def test_a_near_miss_quotes_the_real_lines_and_changes_nothing():
    with pytest.raises(EditFailed, match=r"(?s)You wrote:.*step in range\(4\).*Did you mean.*step in range\(3\)"):
        applied(block("    for step in range(4):\n        train(model)", "pass"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("<<<<<<< SEARCH\nLR = 0.1\n=======\nLR = 1", "block 1 is not complete"),
        ("<<<<<<< SEARCH\nLR = 0.1\nLR = 1\n>>>>>>> REPLACE", "'=======' is missing"),
        (block("", "import os"), "empty SEARCH"),
        (block("LR = 0.1\n...\nfinish(model)", "x"), "do not leave lines out"),
        ("harness/score.py\n" + block("LR = 0.1", "LR = 1"), "only train.py may change"),
        ("```\n../../swarm_brain.jsonl\n" + block("LR = 0.1", "LR = 1"), "only train.py may change"),
        ("\n".join([block("LR = 0.1", "LR = 0.1")] * 41), "41 blocks"),
    ],
)
def test_a_malformed_answer_is_refused_with_a_reason(answer, reason):
    with pytest.raises(EditFailed, match=reason):
        applied(answer)


def test_line_ends_of_the_file_stay():
    assert applied(block("LR = 0.1", "LR = 0.2\nX = 1"), "LR = 0.1\r\nY = 2\r\n") == "LR = 0.2\r\nX = 1\r\nY = 2\r\n"


def test_the_longest_code_fence_is_the_whole_file():
    answer = f"```json\n{{}}\n```\n```python\nx\n```\n````python\n{SOURCE}'''\n```\ninner\n```\n'''\n````"
    assert whole_file(answer, "train.py") == f"{SOURCE}'''\n```\ninner\n```\n'''\n"
    assert whole_file("no code", "train.py") is None


lines_of_code = st.lists(st.from_regex(r"[ ]{0,8}[a-z]{1,8} = [0-9]{1,3}", fullmatch=True), min_size=1, unique=True)
replacements = st.lists(st.from_regex(r"[ ]{0,8}[A-Z]{1,8}", fullmatch=True), max_size=5)


@settings(max_examples=60, deadline=None)
@given(lines=lines_of_code, new=replacements, data=st.data())
def test_a_block_that_quotes_real_lines_replaces_exactly_these(lines, new, data):
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    edit = Edit("\n".join(lines[start:end]), "\n".join(new))
    assert apply_edits("\n".join(lines), [edit]).split("\n") == (lines[:start] + new + lines[end:] or [""])


def test_lines_that_stand_there_as_quoted_come_before_lines_that_stand_there_shifted():
    assert apply_edits(" a = 1\n  a = 1", [Edit(" a = 1", "B")]) == "B\n  a = 1"


@settings(max_examples=60, deadline=None)
@given(lines=lines_of_code, new=replacements, shift=st.integers(1, 6), data=st.data())
def test_a_uniform_shift_is_undone_on_both_sides(lines, new, shift, data):
    """The file is indented by `shift`, the block is not: the outcome is the plain outcome, indented."""
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    quoted, indented = lines[start:end], [" " * shift + line for line in lines]
    assume(all(indented[at : at + len(quoted)] != quoted for at in range(len(lines))))
    try:
        result = apply_edits("\n".join(indented), [Edit("\n".join(quoted), "\n".join(new))])
    except EditFailed as failure:
        assert "times" in str(failure)  # lines that differ by indentation alone become ambiguous
        return
    expected = lines[:start] + new + lines[end:]
    assert result.split("\n") == ([" " * shift + line for line in expected] or [""])


@settings(max_examples=80, deadline=None)
@given(answer=st.text(alphabet=st.sampled_from(list('<=>SEARCHREPLACE \n`abc{}"')), max_size=200))
def test_rubbish_is_refused_and_never_a_crash(answer):
    try:
        edits = parse_edits(answer, "train.py")
        apply_edits(SOURCE, edits)
    except EditFailed:
        pass


SEVERAL = several.joined({"fit.py": "RATE = 1\nSAME = 0\n", "lib/model.py": "DEPTH = 2\nSAME = 0\n"})


def labelled(path: str, search: str, replace: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def test_a_block_goes_into_the_file_that_it_names_of_several() -> None:
    files = several.files_of(SEVERAL, "")
    answer = labelled("lib/model.py", "SAME = 0", "SAME = 5") + labelled("", "RATE = 1", "RATE = 3")
    edited = several.files_of(apply_edits(SEVERAL, parse_edits(answer, *files)), "")
    assert edited == {"fit.py": "RATE = 3\nSAME = 0\n", "lib/model.py": "DEPTH = 2\nSAME = 5\n"}
    with pytest.raises(EditFailed, match="stand 2 times"):
        apply_edits(SEVERAL, parse_edits(labelled("", "SAME = 0", "SAME = 5"), *files))
    with pytest.raises(EditFailed, match=r"names 'private/true\.py'; only fit\.py, lib/model\.py may change"):
        parse_edits(labelled("private/true.py", "a", "b"), *files)
