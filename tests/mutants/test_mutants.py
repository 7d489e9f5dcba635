"""The table of safeguards goes with the code and with docs/promises.md, both ways."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutants.safeguard import Edit, Safeguard, StaleSwitch
from mutants.table import FAST, SAFEGUARDS

ROOT = Path(__file__).parents[2]
_SWITCHES = re.compile(r"Switches:\s+([^.]*)\.")


def promises() -> list[str]:
    return re.split(r"^- ", (ROOT / "docs/promises.md").read_text("utf-8"), flags=re.MULTILINE)[1:]


def switches(promise: str) -> list[str]:
    return [name for listed in _SWITCHES.findall(promise) for name in re.findall(r"`([^`]+)`", listed)]


def test_each_safeguard_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(row.name for row in SAFEGUARDS).items() if count > 1] == []
    assert len(SAFEGUARDS) >= 60 and {row.name for row in SAFEGUARDS} >= FAST


def test_each_switch_goes_with_the_code_as_it_is() -> None:
    """What it replaces is there once, and what it makes of it is still a program."""
    assert [problem for row in SAFEGUARDS for problem in stale(row)] == []


def stale(row: Safeguard) -> Iterator[str]:
    try:
        for name, text in row.switched_off(ROOT).items():
            if text == (ROOT / name).read_text(encoding="utf-8"):
                yield f"{row.name} changes nothing in {name}"
            if name.endswith(".py"):
                compile(text, name, "exec")
    except (StaleSwitch, SyntaxError) as problem:
        yield f"{row.name}: {problem}"


def test_the_tests_of_each_row_exist() -> None:
    assert [row.name for row in SAFEGUARDS if not row.tests] == []
    assert [f"{row.name}: {test}" for row in SAFEGUARDS for test in row.tests if not exists(test)] == []


def exists(test: str) -> bool:
    file, *names = test.split("::")
    source = ROOT / "tests" / file
    if not source.is_file():
        return False
    defined = re.findall(r"^\s*(?:def|class) (\w+)", source.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.partition("[")[0] for name in names} <= set(defined)


def test_each_promise_names_its_switches() -> None:
    assert [promise for promise in promises() if not switches(promise)] == []


def test_each_switch_that_a_promise_names_is_in_the_table_and_the_other_way_round() -> None:
    named = {name for promise in promises() for name in switches(promise)}
    rows = {row.name for row in SAFEGUARDS}
    assert (sorted(named - rows), sorted(rows - named)) == ([], [])


def test_a_switch_that_no_longer_fits_is_an_error() -> None:
    for old in ("nowhere in this file", "def "):
        with pytest.raises(StaleSwitch, match="replaces it exactly once"):
            Safeguard("x", "y", Edit("swarm/clock.py", old, ""), ("z",)).switched_off(ROOT)


def test_a_test_that_is_not_there_is_found() -> None:
    assert not exists("swarm/none.py") and not exists("mutants/test_mutants.py::test_nothing")
    assert exists("mutants/test_mutants.py::test_the_tests_of_each_row_exist")
