"""The real coding agents of the registries against a scripted model: what each does is named, and stays inside.

`make test-agents` installs them. On a quiet machine with two cores a call takes 1 to 15 s.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents.install import NPM, PIP, binaries
from factories.bench import Bench
from fakes.tiny_study import TRAIN, make_tiny_study

from swarm.sandbox.landlock import can_restrict_writing
from swarm.study.settings import ProposerSettings
from workers.agent_check.script import SCENES, Scene, Script
from workers.agent_check.server import scripted_model
from workers.agent_check.trying import KEY, NAMES, try_scene, variables_for
from workers.dispatch import Propose
from workers.proposers.cli_agent import load_agents

pytestmark = [pytest.mark.agents, pytest.mark.timeout(900)]

AGENTS = (*NPM, *PIP)
FOLDER = Path(os.environ.get("SWARM_TEST_AGENTS", "")).absolute()
ENDS_WITHIN_S = 30.0  # after the agent's own end
HANGS_S = 60.0
LIMIT_S = 300.0  # of a call, on a machine with much to do
RATE = "MAX_LR = 0.05  # search: log(1e-3, 1.0)"
OF_A_PERSON = (".claude", ".claude.json", ".codex", ".gemini", ".aider", ".config/opencode", ".local/share/opencode")


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    agent = request.getfixturevalue("agent")
    places = binaries(FOLDER)
    if not any((place / agent).exists() for place in places):
        failed = FOLDER / f"{agent}.failed"
        pytest.skip(f"{agent}: {failed.read_text() if failed.exists() else 'not installed; make test-agents does'}")
    yield os.pathsep.join([*map(str, places), os.environ["PATH"]])


@pytest.mark.skipif(not can_restrict_writing(), reason="without Landlock 3 an agent may write anywhere")
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("agent", AGENTS)
def test_what_it_does_is_named_as_it_is(agent: str, scene: Scene, path: str, tmp_path: Path) -> None:
    environ = {"PATH": path, "LANG": "C.UTF-8"}
    around = tmp_path / "around"
    place = around / "call"
    place.mkdir(parents=True)
    (around / "neighbour.txt").write_text("as it was")
    before = persons_files(), names(around, place / "calls")
    deadline_s = HANGS_S if scene == "hang" else LIMIT_S
    tried = try_scene(agent, load_agents()[agent], scene, folder=place, environ=environ, deadline_s=deadline_s)
    took = f"{tried.seconds:5.1f} s, {tried.after_s:.1f} s of them after its end"
    print(f"\n{agent:9}{scene:10}{tried.code or 'a proposal':17}{took}: {tried.detail[:150]}")
    assert tried.code == NAMES[scene], tried.detail
    assert tried.asked > 0
    assert tried.after_s < ENDS_WITHIN_S
    assert not tried.wrote_outside
    after = persons_files(), names(around, place / "calls")
    assert after[0] == before[0]
    assert after[1] - before[1] == {"call/elsewhere", "call/elsewhere/other.py"}


@pytest.mark.parametrize("agent", AGENTS)
def test_its_edit_becomes_a_trial_of_its_worker(
    agent: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = make_tiny_study(tmp_path)
    monkeypatch.setenv("SWARM_GPU_DIR", str(tiny.ledger))
    scratch = tiny.root / ".swarm/studies/s/agents/worker_1"
    scratch.parent.mkdir(parents=True)
    script = Script(
        "edit", "train.py", RATE, RATE.replace("0.05", "0.1"), tmp_path / "x",
        lambda: next(scratch.glob("call-*/work")),
    )  # fmt: skip
    with scripted_model(script) as model:
        for name, value in variables_for(load_agents()[agent], model.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", path)
        on = Bench(tiny, chosen=ProposerSettings(spec=f"cli:{agent}:scripted"), secrets={"OPENAI_API_KEY": KEY})
        on.measure_noise()
        propose = Propose(arm="llm", role="climber", seed=1)
        on.background.start(propose)
        on.draft(LIMIT_S)
        trial = on.worker.claim_proposal(propose)
    assert trial is not None, on.study.rejections
    assert trial.claim.proposer == f"cli:{agent}:scripted"
    source = on.repo.read(on.repo.refs("s")[trial.trial_id], "models/tiny/train.py")
    assert source == TRAIN.replace(RATE, RATE.replace("0.05", "0.1"))
    print(f"\n{agent:9}its edit is trial {trial.trial_id}: {trial.claim.description}")


def names(folder: Path, without: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_relative_to(without)}


def persons_files() -> dict[str, int]:
    """When the files that an agent keeps in a home changed last, in that of whoever runs the tests."""
    home = Path.home()
    return {name: (home / name).stat().st_mtime_ns for name in OF_A_PERSON if (home / name).exists()}
