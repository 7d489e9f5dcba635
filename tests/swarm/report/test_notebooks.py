"""The shipped notebooks, executed headless in this interpreter, and the drivers that they call."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
from factories.studies import FakeStudy, demo_study
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from swarm.brain import Brain
from swarm.errors import SwarmError
from swarm.records import StudyClosed
from swarm.report.figures import history
from swarm.report.live import LiveDashboard, find_brain, headline, load_study, refresh

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


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


def test_both_notebooks_run_to_their_end(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_NOTEBOOK_MAX_SECONDS", "0.5")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    results = execute("results.ipynb", repository / "notebooks")
    drawn = [
        o for c in results.cells for o in c.get("outputs", []) if "application/vnd.plotly.v1+json" in o.get("data", {})
    ]
    assert len(drawn) == 6
    live = execute("watch.ipynb", repository / "notebooks")
    assert "Result of each trial" in markup(live)
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in live.cells[1].outputs)


def test_the_brain_is_found_from_a_folder_below(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(repository / "notebooks")
    assert find_brain().resolve() == (repository / "swarm_brain.jsonl").resolve()
    study = load_study()
    assert study is not None and study.study_id in headline(study)
    assert load_study(study_id="no-such-study") is None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SwarmError, match=r"no swarm_brain\.jsonl in .* or above"):
        find_brain()


def test_a_refreshed_widget_shows_what_a_new_figure_would(repository: Path) -> None:
    early, late = FakeStudy(seed=3), demo_study(seed=3)
    early.measure_noise()
    for first, second in ((early.study, late.study), (FakeStudy().study, late.study)):
        widget = go.FigureWidget(history(first))
        expected = history(second)
        refresh(widget, expected)
        assert len(widget.data) == len(expected.data)
        for shown, wanted in zip(widget.data, expected.data, strict=True):
            assert list(shown.x or ()) == list(wanted.x or ()) and list(shown.y or ()) == list(wanted.y or ())
        assert widget.layout.title.subtitle.text == expected.layout.title.subtitle.text
        assert widget.layout.annotations == expected.layout.annotations


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[tuple[Brain, list]]:  # type: ignore[type-arg]
    brain, records = Brain(tmp_path / "swarm_brain.jsonl"), demo_study(pairs=2).records
    brain.append(*records[:12])
    yield brain, records[12:]


def test_followed_figures_change_with_the_brain_and_end_with_the_study(growing: tuple[Brain, list]) -> None:  # type: ignore[type-arg]
    brain, rest = growing

    async def session() -> list[int]:
        dashboard = LiveDashboard(brain.path, figures=["history"])
        shown = dashboard.follow(seconds=20)
        counts = [_points(shown.children[1])]
        brain.append(*rest, StudyClosed(study_id="fake-study", reason="trials", description="the end"))
        await dashboard.wait()
        assert "closed: trials" in shown.children[0].value
        return [*counts, _points(shown.children[1])]

    before, after = asyncio.run(session())
    assert before < after == 10


def test_an_error_is_shown_where_the_figures_are(growing: tuple[Brain, list]) -> None:  # type: ignore[type-arg]
    brain, _ = growing

    async def session() -> str:
        dashboard = LiveDashboard(brain.path, figures=["history"])
        shown = dashboard.follow(seconds=20)
        brain.path.unlink()
        await dashboard.wait()
        return str(shown.children[0].value)

    assert "No more updates" in asyncio.run(session())


def _points(figure: go.FigureWidget) -> int:
    return sum(len(trace.x or ()) for trace in figure.data if trace.legendgroup == "standing")
