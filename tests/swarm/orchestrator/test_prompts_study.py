"""A whole study of the prompts target with a model server and a key: the key reaches the grader and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.fake_llm import FakeLLM, Request, completion
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.drill import canary
from swarm.records import TrialState
from swarm.trial.contract import code_root

KEY = "sk-canary0123456789abcdef"

pytestmark = pytest.mark.slow


@pytest.fixture
def ground(tmp_path: Path) -> TinyStudy:
    study = make_tiny_study(tmp_path)
    folder = study.root / "models" / "prompts"
    shutil.copytree(code_root() / "models" / "prompts", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "private" / "items.json").write_text('{"items": 12}')
    study.repo.git("add", "--all")
    study.repo.git("commit", "-q", "-m", "prompts")
    return study


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    def answer(request: Request) -> object:
        said = "urgent" if "smoke" in request.prompt else "billing"
        return completion(f"{said} {KEY}" if request.body["seed"] % 2 else said)

    with FakeLLM([answer]) as running:
        yield running


def test_a_key_reaches_the_model_server_and_no_file(ground: TinyStudy, server: FakeLLM) -> None:
    variables = {"SWARM_PROMPTS_URL": server.url, "SWARM_PROMPTS_MODEL": "small", "SWARM_PROMPTS_API_KEY": KEY}
    asked = ("--target", "prompts", "--device", "cpu", "--workers", "2", "--trials", "7", "--no-finals")
    done = ground.swarm("up", *asked, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    study = ground.study()
    ended = [trial for trial in study.trials.values() if trial.state is TrialState.COMPLETE]
    assert len(ended) == 7 and study.opened.data.startswith("own-")
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert len(server.requests) == 7 * 12
    assert canary.find(KEY, ground.root.parent) == []
    assert "stand-in" not in done.stdout + done.stderr


def test_without_a_server_it_says_stand_in_and_does_not_go_on_with_one(ground: TinyStudy, server: FakeLLM) -> None:
    asked = ("--device", "cpu", "--workers", "2", "--trials", "6", "--no-finals")
    done = ground.swarm("up", "--target", "prompts", *asked)
    assert done.returncode == 0 and "Answers of a scripted stand-in" in done.stdout + done.stderr
    assert "scripted stand-in" in ground.swarm("status").stdout
    resumed = ground.swarm("up", "--resume", "--trials", "8", SWARM_PROMPTS_URL=server.url, SWARM_PROMPTS_MODEL="small")
    assert resumed.returncode == 2 and "would not be comparable" in resumed.stderr, resumed.stderr
    assert server.requests == []
