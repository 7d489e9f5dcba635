"""A study without the extras imports neither Ray nor submitit: a module of that name that breaks who imports it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.tiny_study import make_tiny_study

ROOT = Path(__file__).parents[3]
BREAKS = "raise SystemExit('imported: ' + __name__)\n"
PROCESSES = ("swarm.cli.app", "swarm.cli.up", "workers.__main__", "workers.worker", "swarm.nodes.serving")


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """An import path on which both are there, and neither can be imported."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for library in ("ray", "submitit"):
        (folder / f"{library}.py").write_text(BREAKS)
    return f"{folder}{os.pathsep}{ROOT}"


def test_nothing_of_a_study_imports_ray_or_submitit(broken: str) -> None:
    environment = {**os.environ, "PYTHONPATH": broken}
    command = [sys.executable, "-c", f"import {', '.join(PROCESSES)}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    probe = [sys.executable, "-c", "import ray"]
    assert subprocess.run(probe, env=environment, capture_output=True, timeout=60, check=False).returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_whole_study_without_the_extras(tmp_path: Path, broken: str) -> None:
    done = make_tiny_study(tmp_path).up("--trials", "3", "--no-finals", PYTHONPATH=broken)
    assert done.returncode == 0 and "imported: " not in done.stdout + done.stderr, done.stderr
