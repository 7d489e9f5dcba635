"""`swarm pod watch` shows what `swarm watch` shows, of the study that began in the pod and as far as it is home."""

import io
import json
import re
from pathlib import Path

import pytest
from factories.records import claim, finished, study_opened
from fakes.fake_clock import FakeClock
from fakes.git_repository import GitRepository, make_repository
from fakes.pod_cloud import intent, paper_cloud, renting
from rich.console import Console

from swarm.brain import Brain
from swarm.cli import rented
from swarm.cli.pod_view import frames
from swarm.pods.fake.faults import Fault
from swarm.pods.launching import Launch
from swarm.pods.renting import begin, rent
from swarm.records import Note, Operator
from swarm.repo import Repo

NAME = "swarm-study-1"


@pytest.fixture
def user(tmp_path: Path) -> GitRepository:
    return make_repository(tmp_path / "repo")


def home(user: GitRepository, launch: Launch) -> Brain:
    """A repository that has a study of its own, and one that came from the pod."""
    brain = Brain(user.root / "swarm_brain.jsonl", clock=FakeClock())
    brain.append(study_opened(study_id="the-pods", id="a"))
    launch.folder.mkdir(parents=True, exist_ok=True)
    (launch.folder / "studies.json").write_text(json.dumps(["the-pods"]))
    brain.append(study_opened(study_id="our-own", id="b"))
    return brain


def trial(brain: Brain, number: int, description: str) -> None:
    name = f"t{number:04d}"
    brain.append(
        claim(name, study_id="the-pods", operator=Operator.BASELINE, description=description),
        finished(name, 1.0, study_id="the-pods"),
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_the_pods_study_is_shown_as_it_comes_home(user: GitRepository, tmp_path: Path, terminal: bool) -> None:
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path / "pods")
        launch = Launch(desk, Repo.open(user.root), begin(desk, NAME, intent(root=str(user.root))))
        text = io.StringIO()
        console = Console(file=text, width=120, height=40, force_terminal=terminal, color_system=None)
        with frames(launch, console) as view:
            view.tell()
            assert "the-pods" not in text.getvalue(), "nothing is home yet"
            brain = home(user, launch)
            view.tell()
            assert "the-pods" in text.getvalue() and "our-own" not in text.getvalue()
            trial(brain, 1, "the first\x1b[2J idea")
            brain.append(Note(study_id="our-own", topic="x", description="not of the pod"))
            view.tell()
            size = len(text.getvalue())
            if not terminal:
                view.tell()
                assert len(text.getvalue()) == size, "one frame for each change"
        shown = text.getvalue()
    assert "the first[2J idea" in shown and "seen through its brain alone" in shown and "not of the pod" not in shown
    assert terminal or not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


def test_the_command_shows_frames_and_then_the_outcome(
    user: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_PODS_DIR", str(tmp_path / "pods"))
    monkeypatch.setenv("COLUMNS", "100")
    with paper_cloud(Fault(on="list", what="status", status=401)) as (server, clock):
        desk = renting(server, clock, tmp_path / "pods")
        monkeypatch.setattr(rented, "opened", lambda *_: desk.pods)
        monkeypatch.setattr(rented, "SystemClock", lambda: clock)
        rental = begin(desk, NAME, intent(root=str(user.root), repository="https://example.org/r.git"))
        launch = Launch(desk, Repo.open(user.root), rental)
        from fakes.pod_cloud import offer, order

        rent(desk, rental, (offer(),), lambda wanted, _: order(NAME, wanted.card))
        trial(home(user, launch), 1, "an idea")
        clock.sleep = lambda seconds: (clock.advance(seconds), desk.pods.terminate(server_pod(server)))[0]
        assert rented.watch_pod(NAME, user.root, as_json=False) == 1
    said = capsys.readouterr().out
    assert "an idea" in said and f"{NAME} ended" in said and "asked again every 60 s" in said
    assert said.index("an idea") < said.index(f"{NAME} ended")


def server_pod(server: object) -> str:
    (pod_id,) = server.cloud.pods  # type: ignore[attr-defined]
    return str(pod_id)
