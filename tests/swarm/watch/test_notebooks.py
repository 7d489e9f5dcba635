"""The shipped notebooks, executed headless in this interpreter, and the drivers that they call."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from factories.records import study_opened
from factories.settings import run_settings
from factories.studies import demo_study, written
from fakes.git_repository import GitRepository, make_repository
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from swarm.brain import Brain
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator.settings_file import save_settings
from swarm.records import Note, StudyClosed
from swarm.report.figures import DRAWINGS
from swarm.watch import live
from swarm.watch.cell import drawing_html, frame_html, head_text
from swarm.watch.form import steering_form
from swarm.watch.live import LiveDashboard
from swarm.watch.shown import Shown, find_brain, look

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
PLACES = ("history", "timeline", "lineage")


class ThisInterpreter(AsyncKernelManager):
    """Runs the kernel in the tests' own environment, whatever kernels are installed for the user."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python"
        )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: a brain, and the notebooks in a folder beside it."""
    root = tmp_path_factory.mktemp("repository")
    Brain(root / "swarm_brain.jsonl").append(*demo_study(pairs=8).records)
    (root / "notebooks").mkdir()
    return root


@pytest.fixture
def clone(tmp_path: Path) -> GitRepository:
    """A repository with a committed brain of a study that was not run in it."""
    made = make_repository(tmp_path / "clone")
    written(demo_study(pairs=2).records, made.root / "swarm_brain.jsonl")
    made.commit("a recorded study")
    return made


def execute(name: str, folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=60,
        kernel_manager_class=ThisInterpreter,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def markup(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.data.get("text/html", "") for output in outputs if "data" in output)


@pytest.mark.parametrize("name", ["results.ipynb", "watch.ipynb"])
def test_notebooks_are_stored_without_outputs_and_hold_no_logic(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        assert cell.outputs == [] and cell.execution_count is None
        assert not any(word in cell.source for word in ("def ", "for ", "lambda", "class ", "while "))


def test_both_notebooks_run_to_their_end_and_write_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_NOTEBOOK_MAX_SECONDS", "0.5")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    before = (repository / "swarm_brain.jsonl").read_bytes()
    results = execute("results.ipynb", repository / "notebooks")
    assert markup(results).count("Plotly.react(") == len(DRAWINGS) and "A recorded study" in markup(results)
    watched = execute("watch.ipynb", repository / "notebooks")
    assert "Result of each trial" in markup(watched) and "A recorded study" in markup(watched)
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in watched.cells[4].outputs)
    assert (repository / "swarm_brain.jsonl").read_bytes() == before


def test_the_brain_is_found_from_a_folder_below(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(repository / "notebooks")
    assert find_brain().resolve() == (repository / "swarm_brain.jsonl").resolve()
    shown = look()
    assert shown.study is not None and shown.study.study_id in head_text(shown)
    assert look(study_id="no-such-study").study is None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SwarmError, match=r"no swarm_brain\.jsonl in .* or above"):
        find_brain()


def test_the_recorded_study_is_shown_until_one_of_ones_own_has_a_trial(clone: GitRepository) -> None:
    path = clone.root / "swarm_brain.jsonl"
    first = look(path)
    assert first.study is not None and first.warning is not None
    assert first.warning.startswith("A recorded study") and "`swarm up`" in first.warning
    path.unlink()
    (clone.root / "swarm_brain.jsonl.lock").unlink(missing_ok=True)
    gone = look(path)
    assert gone.study is not None and gone.study.study_id == "fake-study" and len(gone.study.trials) > 5
    assert gone.warning is not None and gone.warning.startswith("A recorded study")
    brain = Brain(path)
    brain.append(study_opened(study_id="mine"))
    begun = look(path)
    assert begun.study is not None and begun.study.study_id == "fake-study"
    assert begun.warning is not None and begun.warning.startswith("mine has begun and has no trial yet. A recorded")
    save_settings(run_settings(clone.root, study_id="mine"))
    mine = [one.model_copy(update={"seq": 0, "prev": "", "id": "", "study_id": "mine"}) for one in demo_study().records]
    brain.append(next(one for one in mine if one.kind == "proposal_claimed"))
    own = look(path)
    assert own.study is not None and (own.study.study_id, own.warning) == ("mine", None)


def test_a_repository_without_any_study_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_repository(tmp_path / "repo").root)
    shown = look()
    assert shown.study is None and shown.warning is not None and "`swarm up`" in shown.warning
    assert "No study yet." in frame_html("p", shown, PLACES) and "Plotly.react" in drawing_html("p", shown, PLACES)


def test_nothing_in_a_record_ends_the_script() -> None:
    fake = demo_study(pairs=1)
    fake.try_change(loss=1.0, description="</script><script>alert(1)</script>\u2028")
    drawn = drawing_html("p", Shown(fake.study, "</script><b>"), PLACES)
    assert drawn.startswith("<script>") and drawn.endswith("</script>")
    assert drawn.count("<") == 2 and "\u2028" not in drawn


class Cells:
    """What a notebook was given to show."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, bool]] = []

    def __call__(self, bundle: dict[str, str], *, raw: bool, display_id: str | None, update: bool) -> None:
        assert raw and "text/html" in bundle
        self.shown.append((bundle["text/html"], bundle["text/plain"], update))

    @property
    def updates(self) -> list[str]:
        return [text for _, text, update in self.shown if update]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Cells:
    cells = Cells()
    monkeypatch.setattr(live, "display", cells)
    monkeypatch.setattr(live, "LEAST_BETWEEN_S", 0.01)
    return cells


@pytest.fixture
def growing(clone: GitRepository) -> Iterator[tuple[Brain, Callable[..., list[Any]]]]:
    """A study that runs here, with twelve records of it; and what makes more."""
    save_settings(run_settings(clone.root, study_id="mine"))
    brain, records = Brain(clone.root / "swarm_brain.jsonl"), demo_study(pairs=2).records

    def some(start: int, end: int | None = None) -> list[Any]:
        update = {"seq": 0, "prev": "", "id": "", "study_id": "mine"}
        return [one.model_copy(update=update) for one in records[start:end]]

    brain.append(*some(0, 12))
    yield brain, some


def test_a_shown_study_is_drawn_at_once_and_then_at_each_change_to_its_end(
    growing: tuple[Brain, Callable[..., list[Any]]], cells: Cells
) -> None:
    brain, some = growing

    async def session() -> None:
        dashboard = LiveDashboard(brain.path, figures=["history"])
        dashboard.show(seconds=20)
        assert len(cells.shown) == 2 and "2 trials done" in cells.shown[1][1], "whole before the cell returns"
        await asyncio.sleep(0.3)
        assert cells.updates == [], "nothing has changed"
        brain.append(*some(12), StudyClosed(study_id="mine", reason="trials", description="the end"))
        await dashboard.wait()

    asyncio.run(session())
    assert "closed: trials" in cells.updates[-1] and cells.shown[-1][0].startswith("<script>")


def test_the_view_turns_from_the_recorded_study_to_ones_own(clone: GitRepository, cells: Cells) -> None:
    brain = Brain(clone.root / "swarm_brain.jsonl")

    async def session() -> None:
        dashboard = LiveDashboard(brain.path, figures=["history"])
        dashboard.show(seconds=20)
        save_settings(run_settings(clone.root, study_id="mine"))
        update = {"seq": 0, "prev": "", "id": "", "study_id": "mine"}
        brain.append(*(one.model_copy(update=update) for one in demo_study(pairs=2).records))
        brain.append(StudyClosed(study_id="mine", reason="trials", description="the end"))
        await dashboard.wait()

    asyncio.run(session())
    assert cells.shown[1][1].startswith("A recorded study") and cells.updates[-1].startswith("mine: ")


def test_an_error_is_shown_where_the_figures_are(growing: tuple[Brain, Callable[..., list[Any]]], cells: Cells) -> None:
    brain, _ = growing

    async def session() -> None:
        dashboard = LiveDashboard(brain.path, figures=["history"])
        dashboard.show(seconds=20)
        brain.path.unlink()
        await dashboard.wait()

    asyncio.run(session())
    assert cells.updates[-1].startswith("No more updates") and "Run the cell again." in cells.updates[-1]


def test_a_blocking_cell_draws_the_changes_and_ends(
    growing: tuple[Brain, Callable[..., list[Any]]], cells: Cells
) -> None:
    brain, some = growing
    dashboard = LiveDashboard(brain.path, figures=["history"])
    brain_changes = dashboard._changes

    def changes(*arguments: Any) -> Iterator[Shown]:
        brain.append(*some(12), StudyClosed(study_id="mine", reason="trials", description="the end"))
        yield from brain_changes(*arguments)

    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(dashboard, "_changes", changes)
        dashboard.watch(seconds=5)
    assert len(cells.shown) >= 2 and not cells.shown[0][2]


def test_the_form_writes_what_the_command_writes_and_only_when_it_is_pressed(
    growing: tuple[Brain, Callable[..., list[Any]]], clone: GitRepository
) -> None:
    brain, _ = growing
    form = steering_form(LiveDashboard(brain.path))
    action, subject, text, button, said = form.children

    def steers() -> list[tuple[str, str, str, str]]:
        study = Brain(brain.path).snapshot().studies["mine"]
        return [(one.agent_id, one.action, one.subject, one.description) for one in study.steers]

    assert steers() == []
    action.value, subject.value, text.value = "veto", "schedule", "too slow"
    button.click()
    assert said.value == "Written: veto schedule." and steers() == [("person", "veto", "schedule", "too slow")]
    action.value, subject.value = "pin", "<t0099>"
    button.click()
    assert said.value.startswith("Refused: there is no program &#x27;&lt;t0099&gt;&#x27;") and len(steers()) == 1
    action.value, text.value = "note", "try it"
    button.click()
    assert steers()[1] == ("person", "note", "", "try it")
    action.value, subject.value = "trials", "-1"
    button.click()
    assert said.value.startswith("Refused: trials is -1, and mine has claimed") and len(steers()) == 2
    subject.value = "900"
    button.click()
    assert said.value.startswith("mine has 900 trials") and steers()[2] == ("person", "budget", "trials", "try it")


def test_a_recorded_study_takes_no_word(clone: GitRepository) -> None:
    brain = Brain(clone.root / "swarm_brain.jsonl")
    brain.append(Note(study_id="fake-study", description="whole"))
    before = brain.path.read_bytes()
    with pytest.raises(UsageError, match="this is a copy of a brain"):
        LiveDashboard(brain.path).tell("veto", "schedule")
    assert brain.path.read_bytes() == before
