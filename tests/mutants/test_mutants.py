"""The table of safeguards goes with the code and with docs/promises.md, both ways."""

import re
from collections import Counter
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


@pytest.mark.parametrize("row", SAFEGUARDS, ids=lambda row: row.name)
def test_each_switch_goes_with_the_code_as_it_is(row: Safeguard) -> None:
    """What it replaces is there once, and what it makes of it is still a program."""
    for name, text in row.switched_off(ROOT).items():
        assert text != (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".py"):
            compile(text, name, "exec")


@pytest.mark.parametrize("row", SAFEGUARDS, ids=lambda row: row.name)
def test_the_tests_of_each_row_exist(row: Safeguard) -> None:
    assert row.tests
    for test in row.tests:
        file, *names = test.split("::")
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        defined = set(re.findall(r"^\s*(?:def|class) (\w+)", source, re.MULTILINE))
        assert set(names) <= defined, test


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
