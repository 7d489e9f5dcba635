"""What `swarm up --resume` says before it goes on."""

import io
from pathlib import Path

import pytest
from factories.records import claim, study_opened
from factories.settings import run_settings
from fakes.git_repository import make_repository
from rich.console import Console

from swarm.brain import Brain
from swarm.cli.up import _say_what_goes_on
from swarm.orchestrator.opening import OpenStudy
from swarm.records import Usage
from swarm.repo import Repo
from swarm.study.options import UpOptions
from swarm.study.resuming import resumed
from swarm.study.settings import ProposerSettings


def said(tmp_path: Path, **options: float) -> str:
    repo = Repo.open(make_repository(tmp_path / "repo").root)
    had = run_settings(repo.root, trials=1, proposers={"worker_1": ProposerSettings(max_usd=5.0)})
    settings, changes = resumed(had, UpOptions(resume=True, **options), 0.0)  # type: ignore[arg-type]
    brain = Brain(settings.brain)
    spent = Usage(input_tokens=100, output_tokens=20, usd=1.25)
    brain.append(study_opened(), claim("t0001", study_id="fake-study", usage=spent))
    out = io.StringIO()
    _say_what_goes_on(OpenStudy(settings, brain, repo, changes), Console(file=out, width=200))
    return out.getvalue()


def test_it_names_what_it_keeps_what_changes_and_what_is_spent(tmp_path: Path) -> None:
    text = said(tmp_path, max_usd=8.0)
    assert "Goes on with fake-study, which has 1 trials." in text
    assert "trials 1" in text and "worker_1 max_tokens unlimited" in text and "sandbox auto" in text
    assert "Changes: worker_1 max_usd: 5 -> 8." in text
    assert "worker_1 max_usd 8" not in text.partition("Changes")[0]
    assert "Spent so far, and counted: 1.2500 USD, 120 tokens." in text
    assert "--trials gives it more" in text


@pytest.mark.parametrize("options", [{}, {"trials": 1}])
def test_nothing_changed_is_said_too(tmp_path: Path, options: dict[str, float]) -> None:
    assert "Changes: nothing." in said(tmp_path, **options)
