"""What `swarm watch` draws, as text at two widths. After a change that is meant: SWARM_GOLDEN=write, and read it."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.frames import HOSTILE, frame, slot
from rich.cells import cell_len
from rich.console import Console

from swarm.watch.frame import Frame
from swarm.watch.terminal import picture
from swarm.watch.words import duration, slot_note

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(seen: Frame, width: int, height: int | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(picture(seen, width, height))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("width", [80, 200])
def test_a_running_study_at_two_widths(width: int) -> None:
    text, kept = drawn(frame(), width), GOLDEN / f"running_{width}.txt"
    if os.environ.get("SWARM_GOLDEN") == "write":
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 100, 149, 150, 200, 300])
def test_no_line_is_wider_than_the_terminal_and_no_column_is_folded(width: int) -> None:
    lines = drawn(frame(), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert any("worker_1" in line and "training" in line and "t0031" in line and "63%" in line for line in lines)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("height", [24, 30, 50])
def test_it_fits_the_height_and_the_slots_stay(width: int, height: int) -> None:
    many = frame(events=frame().events * 20, best=frame().best * 3)
    lines = drawn(many, width, height).splitlines()
    assert len(lines) <= height
    assert any("worker_2" in line for line in lines) and any("t0032 begins" in line for line in lines)


def test_nothing_that_a_proposal_says_is_markup() -> None:
    text = drawn(frame(slots=(slot(description=HOSTILE),)), 200)
    assert text.count("[bold red]X[/]") == 3


def test_stand_in_data_and_trouble_are_said_first() -> None:
    first = drawn(frame(trouble="no device memory: the ledger is gone"), 80).splitlines()[:3]
    assert "no claim about CIFAR-100" in first[1]
    assert first[2].startswith("no device memory")
    assert "CIFAR-100" not in drawn(frame(data="cifar100"), 80)


def test_a_silent_training_and_a_restart_are_said_before_the_change() -> None:
    said = slot_note(slot(silent_s=75.0, restarts=2, description="set X"))
    assert said == "(restarted 2x, no step for 75 s) set X"
    assert slot_note(slot(doing="scoring", silent_s=75.0, description="set X")) == "set X"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min"), (18_180, "5 h 03 min"), (190_000, "2 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
