"""The timed renderer of models/: each of its settings makes the pages that the grader's own renderer makes."""

import importlib.util
import json
import os
import random
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.timed import SMALL, SPEED

from swarm import gate
from swarm.program import constants
from swarm.program.constants import Choice
from swarm.records import Scalar
from swarm.target.file import load_target
from swarm.trial.contract import code_root
from workers.proposers.library import EDITS

SOURCE = (SPEED / "render.py").read_text()
TINY = {**SMALL, "templates": 3, "pages": 8, "lines": 4}


def spaces() -> dict[str, tuple[Scalar, ...]]:
    known = {name: one.space for name, one in constants.parse(SOURCE).items() if one.space is not None}
    return {name: s.values if isinstance(s, Choice) else (s.low, s.high) for name, s in known.items()}


def variants() -> Iterator[dict[str, Scalar]]:
    """Each choice and each limit alone, and all of the last ones together."""
    yield {}
    yield from ({name: value} for name, values in spaces().items() for value in values)
    yield {name: values[-1] for name, values in spaces().items()}


@pytest.fixture(scope="module")
def grading() -> Iterator[types.ModuleType]:
    """grading/make.py, which makes inputs and what the pages must be."""
    sys.path.insert(0, str(SPEED / "grading"))
    spec = importlib.util.spec_from_file_location("speed_make", SPEED / "grading" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SPEED / "grading"))
    sys.modules.pop("pages", None)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    """The program sets when garbage is collected."""
    import gc

    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def pages_of(source: str, wanted: dict[str, list[tuple[str, object]]]) -> list[str]:
    module = types.ModuleType("render")
    exec(compile(source, "render.py", "exec"), module.__dict__)
    renderer = module.Renderer(wanted["templates"])
    return [renderer.page(name, data) for name, data in wanted["pages"]]


def test_every_setting_makes_the_pages_that_a_second_renderer_makes(grading: types.ModuleType) -> None:
    wanted = [grading.wanted(random.Random(number), TINY) for number in range(3)]
    true = [[grading.expected(one["templates"][name], data) for name, data in one["pages"]] for one in wanted]
    together = "".join(page for pages in true for page in pages)
    assert all(sign in together for sign in ("&lt;b&gt;", "<b>", "&#39;", ",", "...", "ß")), "each filter is asked for"
    for changed in variants():
        source = constants.assign(SOURCE, changed)
        assert [pages_of(source, one) for one in wanted] == true, changed


def test_the_fixed_program_is_the_one_that_a_study_begins_with() -> None:
    target = load_target("speed", code_root())
    assert (target.terms.grade, target.objective.key, target.terms.has_test) == ("graded", "cpu_time", True)
    for profile in (target.profiles.cpu, target.profiles.gpu):
        assert target.base_source(SOURCE, profile) == (SPEED / "reference" / "render.py").read_text()
    assert all(one.space is None or one.space.contains(one.value) for one in constants.parse(SOURCE).values())
    assert gate.check_base(SOURCE, target.terms) is None


def test_the_library_says_that_it_has_nothing_for_a_renderer() -> None:
    assert len(spaces()) == 8 and [edit.name for edit in EDITS if edit.applies(SOURCE)] == []


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    """A grader's folder after three rounds in which both programs were right."""
    environment = {**os.environ, "SWARM_ROUNDS": "3", "SWARM_SECRET": "secret"}
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "shape.json").write_text(json.dumps(TINY))
    make = [sys.executable, str(SPEED / "grading" / "make.py")]
    subprocess.run(make, cwd=tmp_path, env=environment, check=True)
    times = []
    for number in (1, 2, 3):
        for who in ("run", "reference"):
            (tmp_path / "rounds" / str(number) / who).mkdir()
            leave(tmp_path, number, who, json.loads((tmp_path / f"rounds/{number}/expected.json").read_text()))
        measured = {"run": {"cpu_s": 0.1 * number, "wall_s": 1.0}, "reference": {"cpu_s": 0.2 * number, "wall_s": 1.0}}
        times.append({"round": number, **measured})
    (tmp_path / "rounds.json").write_text(json.dumps(times))
    return tmp_path


def leave(folder: Path, number: int, who: str, pages: object) -> None:
    (folder / "rounds" / str(number) / who / "pages.json").write_text(json.dumps(pages))


def grade(folder: Path) -> dict[str, object]:
    command = [sys.executable, str(SPEED / "grading" / "grade.py")]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    answer: dict[str, object] = json.loads(said)
    return answer


def test_the_grader_divides_times_and_counts_wrong_pages(graded: Path) -> None:
    metrics = grade(graded)["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["cpu_time"] == pytest.approx(0.5) and (metrics["correct"], metrics["wrong"]) == (1.0, 0)
    pages = json.loads((graded / "rounds/2/run/pages.json").read_text())
    for wrong, count in (([pages[0] + " ", *pages[1:]], 1), (pages[:-1], 8), ([" " * len(p) for p in pages], 8)):
        leave(graded, 2, "run", wrong)
        metrics = grade(graded)["metrics"]
        assert isinstance(metrics, dict) and metrics["wrong"] == count, metrics
        assert metrics["correct"] == pytest.approx(1 - count / 24)


def test_the_grader_takes_texts_alone_and_a_fixed_program_that_is_right(graded: Path) -> None:
    leave(graded, 2, "run", [{"lazy": True}])
    assert grade(graded)["why"] == "outputs/pages.json must hold a list of texts, one a page"
    leave(graded, 2, "reference", [])
    assert grade(graded)["why"] == "the fixed program got 0 of 8 pages right"
