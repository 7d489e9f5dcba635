import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import TargetError
from swarm.program import constants
from swarm.program.constants import Choice, Int, Linear, Log

PROGRAM = '''\
"""A program.  # search: log(1, 2)"""
import math

MAX_LR = 1e-2  # search: log(1e-4, 1e-1)  # peak of the one-cycle
DROPOUT: float = 0.0   # search: linear(0, 0.3)
STAGES = (3)  # search: int(2, 4)
ACTIVATION = "relu"  # search: {"relu", 'gelu', "silu"}
USE_EMA = True  # search: {True, False}
PATCH = -4
ENDLESS = 1e999
NOTE = "größer # search: int(1, 2)"  # Maße
EPOCHS = 33; BATCH = 512  # search: int(64, 1024)
WIDTHS = (64, 128)
DEVICE = math.pi
TWICE = 1
TWICE = 2
OFTEN = 1
if math.pi > 3:
    OFTEN = 2
lower = 3


def build_model():
    LOCAL = 5
    return LOCAL
'''


def test_parse_reads_values_spaces_and_lines() -> None:
    found = constants.parse(PROGRAM)
    assert {name: constant.value for name, constant in found.items()} == {
        "MAX_LR": 0.01,
        "DROPOUT": 0.0,
        "STAGES": 3,
        "ACTIVATION": "relu",
        "USE_EMA": True,
        "PATCH": -4,
        "NOTE": "größer # search: int(1, 2)",
        "EPOCHS": 33,
        "BATCH": 512,
    }
    assert found["MAX_LR"].space == Log(1e-4, 1e-1)
    assert found["DROPOUT"].space == Linear(0, 0.3)
    assert found["STAGES"].space == Int(2, 4)
    assert found["ACTIVATION"].space == Choice(("relu", "gelu", "silu"))
    assert found["USE_EMA"].space == Choice((True, False))
    assert found["BATCH"].space == Int(64, 1024)
    assert found["PATCH"].space is found["NOTE"].space is found["EPOCHS"].space is None
    assert (found["MAX_LR"].line, found["BATCH"].line) == (4, 12)


@pytest.mark.parametrize(
    ("space", "inside", "outside"),
    [
        (Log(1e-4, 1e-1), [1e-4, 0.1, 0.01], [0, 1, True, "0.01"]),
        (Linear(0, 1), [0, 1, 0.5], [-0.1, 1.1, True, float("nan")]),
        (Int(1, 8), [1, 8], [0, 9, 2.0, True, 10**400]),
        (Linear(0, 1), [], [10**400]),
        (Choice((True, 2, "a")), [True, 2, 2.0, "a"], [1, False, "b"]),
    ],
)
def test_spaces_contain_their_values_only(
    space: constants.Space, inside: list[constants.Scalar], outside: list[constants.Scalar]
) -> None:
    assert all(space.contains(value) for value in inside)
    assert not any(space.contains(value) for value in outside)


@pytest.mark.parametrize(
    "comment",
    [
        "log(0, 1)",
        "log(1)",
        "linear(2, 1)",
        "int(1.5, 3)",
        "uniform(0, 1)",
        "{low, 1}",
        "{}",
        "log(1e-4, ",
        "",
        "log(a=1)",
    ],
)
def test_an_unreadable_search_comment_is_an_error_with_line_and_remedy(comment: str) -> None:
    with pytest.raises(TargetError, match=r"line 2: the search comment of LR .* write log\(low, high\)"):
        constants.parse(f"import math\nLR = 0.1  # search: {comment}\n")


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("1e-2", 3e-4, "3e-4"),
        ("1e-2", 0.015, "1.5e-2"),
        ("1e-2", 0.0, "0.0"),
        ("0.01", 0.015, "0.015"),
        ("0.01", 5e-5, "5e-5"),
        ("0.01", -5e-5, "-5e-5"),
        ("512", 1024, "1024"),
        ("0.5", 1e22, "1e22"),
        ("True", False, "False"),
        ('"relu"', "gelu", '"gelu"'),
        ("'relu'", 'a"b', "'a\"b'"),
        ('("a"\n    "b")', "c", '("c")'),
        ('"""a\nb"""', "c", '"c"'),
    ],
)
def test_assign_writes_short_exact_literals(old: str, value: constants.Scalar, new: str) -> None:
    assert constants.assign(f"X = {old}  # why\n", {"X": value}) == f"X = {new}  # why\n"


def test_assign_changes_only_the_named_literals() -> None:
    edited = constants.assign(PROGRAM, {"MAX_LR": 3e-3, "EPOCHS": 7, "BATCH": 256, "NOTE": "ä"})
    expected = (
        PROGRAM.replace("MAX_LR = 1e-2 ", "MAX_LR = 3e-3 ")
        .replace("EPOCHS = 33; BATCH = 512", "EPOCHS = 7; BATCH = 256")
        .replace('"größer # search: int(1, 2)"', '"ä"')
    )
    assert edited == expected


def test_assign_refuses_unknown_names_and_values_without_a_literal() -> None:
    with pytest.raises(TargetError, match=r"no constant LR; it declares: A, B"):
        constants.assign("A = 1\nB = 2\n", {"LR": 1})
    with pytest.raises(TargetError, match="nan has no literal"):
        constants.assign("A = 1.0\n", {"A": float("nan")})


@pytest.mark.parametrize("source", ["x = = 1", "x = '\0'", "x = '\ud800'", "(" * 5000, "x=" + "-" * 20000 + "1"])
def test_text_that_is_not_python_is_a_target_error(source: str) -> None:
    with pytest.raises(TargetError):
        constants.parse(source)


def test_changed_tells_apart_values_but_not_spellings() -> None:
    parent = "A = 1e-2\nB = 512\nC = 'x'\nD = 1\nE = 1\nGONE = 1\n"
    child = 'A = 0.01\nB = 256\nC = "x"\nD = 1.0\nE = True\nNEW = 2\n'
    assert constants.changed(parent, child) == {
        "B": (512, 256),
        "D": (1, 1.0),
        "E": (1, True),
        "GONE": (1, None),
        "NEW": (None, 2),
    }


scalars = st.one_of(
    st.booleans(),
    st.integers(1 - 2**63, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
comments = st.sampled_from(["", "  # ü", "\t# search: int(1, 2)", "  # '\"", ";"])


@given(old=st.lists(st.tuples(scalars, comments), min_size=1, max_size=5), data=st.data())
def test_assigned_values_are_read_back_and_other_lines_stay(
    old: list[tuple[constants.Scalar, str]], data: st.DataObject
) -> None:
    lines = [f"C{index} = {value!r}{comment}" for index, (value, comment) in enumerate(old)]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    source = end.join(["# head", *lines, "def f():\n    return 'tail'"])
    chosen = data.draw(st.sets(st.integers(0, len(old) - 1), min_size=1))
    values = {f"C{index}": data.draw(scalars) for index in chosen}

    edited = constants.assign(source, values)

    read = {name: constant.value for name, constant in constants.parse(edited).items()}
    for index, (value, _) in enumerate(old):
        expected = values.get(f"C{index}", value)
        assert read[f"C{index}"] == expected and type(read[f"C{index}"]) is type(expected)
    before, after = source.split(end), edited.split(end)
    assert len(before) == len(after)
    for number, (was, now) in enumerate(zip(before, after, strict=True)):
        index = number - 1
        if index not in chosen:
            assert was == now
        elif 0 <= index < len(old):
            assert now.endswith(old[index][1])
    assert ast.parse(edited)
