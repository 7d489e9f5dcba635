"""The command line without the libraries that only a study needs: here by hiding them, and from the wheel itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.git_repository import make_repository

from swarm import version
from swarm.cli import doctor
from swarm.errors import MissingExtra, OutdatedExtra
from swarm.orchestrator.model_servers import need_extras
from swarm.version import EXTRAS

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "swarm_brain.jsonl"
READING = (
    ("--help",),
    ("status",),
    ("watch", "--once"),
    ("log",),
    ("log", "1", "--json"),
    ("export",),
    ("memory",),
    ("verify",),
    ("report", "--out", "report"),
    ("doctor",),
    ("gpu", "status"),
)

HIDDEN = """
import importlib.machinery, json, sys
hidden, commands = json.loads(sys.argv[1])

class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, *arguments):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, *arguments)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Without
from swarm.cli import main
for command in commands:
    sys.argv = ["swarm", *command]
    print("exit", main(), *command, file=sys.stderr)
"""


def without(libraries: tuple[str, ...], *commands: tuple[str, ...], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The commands one after the other in a process that finds none of these libraries; exit codes in stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    environment |= {"PYTHONPATH": str(ROOT), "SWARM_GPU_DIR": str(cwd / "gpu"), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, json.dumps([libraries, commands])],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def on_the_recorded_brain(command: tuple[str, ...]) -> tuple[str, ...]:
    return command if command[0] in ("--help", "doctor", "gpu") else (*command, "--brain", str(RECORDED))


def test_whoever_only_reads_needs_no_extra(tmp_path: Path) -> None:
    commands = [on_the_recorded_brain(command) for command in READING if command[:1] != ("log",) or len(command) == 1]
    done = without((*EXTRAS["train"], *EXTRAS["models"], *EXTRAS["web"]), *commands, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if not line.startswith("swarm: took ")]  # out of the bundle, once
    assert said == [f"exit 0 {' '.join(command)}" for command in commands]
    assert "this needs torch, torchvision, numpy, optuna: pip install 'swarm-research[train]'" in done.stdout
    assert (tmp_path / "report" / "report.html").stat().st_size > 1_000_000, "with plotly's code inside"


@pytest.mark.parametrize(
    ("hidden", "command", "said"),
    [
        ("torch", ("up",), "this needs torch: pip install 'swarm-research[train]'"),
        ("optuna", ("calibrate",), "this needs optuna: pip install 'swarm-research[train]'"),
        ("openai", ("up", "--proposer", "openai"), "this needs openai: pip install 'swarm-research[models]'"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    tmp_path: Path, hidden: str, command: tuple[str, ...], said: str
) -> None:
    repo = make_repository(tmp_path / "repo")
    done = without((hidden,), command, cwd=repo.root)
    assert done.stderr.splitlines() == [f"swarm: {said}", f"exit 1 {' '.join(command)}"]
    assert not (repo.root / "swarm_brain.jsonl").exists()


def test_the_page_names_the_extra_that_it_lacks(tmp_path: Path) -> None:
    done = without(EXTRAS["web"], ("watch", "--web"), cwd=tmp_path)
    assert done.stderr.splitlines()[0] == "swarm: this needs starlette, uvicorn: pip install 'swarm-research[web]'"


@pytest.mark.parametrize("store", ["parquet", "tensorboard", "mlflow", "wandb", "optuna"])
def test_an_export_names_the_extra_that_it_lacks_and_makes_nothing(tmp_path: Path, store: str) -> None:
    done = without(EXTRAS[store], ("export", store, "--brain", str(RECORDED)), cwd=tmp_path)
    said = f"this needs {', '.join(EXTRAS[store])}: pip install 'swarm-research[{store}]'"
    assert done.stderr.splitlines()[-2] == f"swarm: {said}"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], check=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    into = ["--python", str(folder / "env" / "bin" / "python"), "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *into, str(wheel)], check=True, timeout=600)
    return folder / "env" / "bin"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_alone_reads_reports_and_says_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SWARM_GPU_DIR": str(tmp_path / "gpu")}

    def run(program: str, *arguments: str, cwd: Path = tmp_path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(installed / program), *arguments],
            cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    for command in READING:
        done = run("swarm", *on_the_recorded_brain(command))
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    said = run("swarm", "doctor").stdout
    assert "warn  repository: " in said and "pip install 'swarm-research[train]'" in said
    assert "efficientnet, efficientnet_seed, resnext in " in said and str(installed.parent) in said
    repo = make_repository(tmp_path / "repo")
    lacking = run("swarm", "up", cwd=repo.root)
    assert lacking.stderr == f"swarm: {MissingExtra('train', EXTRAS['train'])}\n"
    assert lacking.returncode == 1
    assert run("python", "-c", "import swarm, workers").returncode == 0
    assert "No module named 'models'" in run("python", "-c", "import models").stderr
    size = sum(path.stat().st_size for path in installed.parent.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 200e6, f"{size / 1e6:.0f} MB without any extra"


def test_a_library_that_is_too_old_is_named_with_the_least_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.9.1+cu128"}
    monkeypatch.setattr(version.metadata, "version", lambda library: versions[library])
    monkeypatch.setattr(version, "find_spec", lambda library: library)
    monkeypatch.setitem(version.EXTRAS, "train", ("torch",))
    assert version.too_old("train") == ("torch 2.10 or later (2.9.1+cu128 is installed)",)
    with pytest.raises(OutdatedExtra, match=r"needs torch 2\.10 or later .*pip install --upgrade"):
        need_extras([])
    assert doctor._torch(Path()) == ("fail", str(OutdatedExtra("train", version.too_old("train"))))
    for fine in ("2.10.0", "2.15.0+cu132", "3.0"):
        versions["torch"] = fine
        assert version.too_old("train") == ()
    assert version.too_old("models") == ()
