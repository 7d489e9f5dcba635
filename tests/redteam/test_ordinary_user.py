"""Part of the suite again as a user without any right: other steps of the ladder hold there than for root.

When the tests do not run as root, all of the suite shows it already. `make redteam`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.redteam_programs.catalogue import PROGRAMS, Kind
from judge import TABLE_VARIABLE, Line

from swarm.trial.contract import code_root

USER = 54321
LIMIT_S = 540
OF_EACH_KIND = 5
# What differs most between root and others: rights over files and processes, and limits that root is exempt from.
ALWAYS = (
    "is_honest", "is_honest_on_seconds", "loads_with_workers", "forgot_to_track_its_statistics",
    "leaves_a_mark_in_times_of_files", "looks_for_a_mark_in_times_of_files",
    "leaves_a_mark_in_owner_of_files_and_their_attributes", "looks_for_a_mark_in_owner_of_files_and_their_attributes",
    "trains_in_children_that_nobody_waits_for_on_images", "trains_in_load_state_dict_of_predict_on_images",
    "forks_until_refused", "starts_threads_until_refused", "leaves_folders_that_nobody_may_enter",
)  # fmt: skip
_COPIED = ("swarm", "workers", "models", "tests", "program.md", "pyproject.toml")

pytestmark = [
    pytest.mark.redteam,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: the whole suite runs as an ordinary user already"),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """Code, cache and home that belong to the user; not in pytest's own folders, which are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-redteam-", dir="/var/tmp"))
    for name in _COPIED:
        source = code_root() / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, folder / name)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_user(home: Path, command: list[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
    """Runs it without any capability, group or variable of ours; with its own view of /root where the interpreter lies
    behind a folder that only root may enter."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "SWARM_CACHE": str(home / "cache"),
        "SWARM_GPU_DIR": str(home / "gpu"),
        "PYTHONPATH": str(home),
        "LC_ALL": "C.UTF-8",
        TABLE_VARIABLE: str(home / "table.jsonl"),
    }
    less = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"]
    line = [*less, *command]
    prefix, hidden = Path(sys.base_prefix).resolve(), _first_closed_folder(Path(sys.base_prefix).resolve())
    if hidden is not None:
        script = (
            'mkdir -p "$1/held"; mount --bind "$2" "$1/held"; mount -t tmpfs -o mode=755 none "$3"; mkdir -p "$2"; '
            'mount --bind "$1/held" "$2"; shift 3; exec "$@"'
        )
        line = ["unshare", "-m", "sh", "-ec", script, "sh", str(home), str(prefix), str(hidden), *line]
    return subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)


def _first_closed_folder(path: Path) -> Path | None:
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def chosen() -> list[str]:
    """Names of programs, some of each kind and those that differ most; a reader comes with what it reads after."""
    names: list[str] = []
    for kind in Kind:
        of_kind = [program for program in PROGRAMS if program.kind is kind and program.clock == "images"]
        names += [program.name for program in of_kind[:: max(1, len(of_kind) // OF_EACH_KIND)]]
    wanted = {*names, *ALWAYS}
    wanted |= {program.reads_after for program in PROGRAMS if program.name in wanted and program.reads_after}
    return [f"{program.kind}-{program.name}" for program in PROGRAMS if program.name in wanted]


def test_nothing_gets_through_as_an_ordinary_user(home: Path, table) -> None:
    if as_user(home, [sys.executable, "-c", "import torch, pytest"], 120).returncode != 0:
        pytest.skip("no other user can start this interpreter here: that an ordinary user is safe is not verified")
    file = home / "tests" / "redteam" / "test_programs.py"
    nodes = [f"{file}::test_it_does_not_get_through[{name}]" for name in chosen()]
    options = ["-q", "-n", "0", "-m", "redteam", "-p", "no:cacheprovider", "--basetemp", str(home / "tests-of-user")]
    done = as_user(home, [sys.executable, "-m", "pytest", *options, *nodes], LIMIT_S)
    written = home / "table.jsonl"
    assert written.exists(), (done.stdout + done.stderr)[-3000:]
    lines = [Line(**json.loads(text)) for text in written.read_text().splitlines()]
    for line in lines:
        table.add(Line(**{**line.__dict__, "name": f"user {USER}: {line.name}", "through": tuple(line.through)}))
    assert {line.name: line.through for line in lines if line.through} == {}
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert len(lines) == len(nodes)
    print("levels as an ordinary user:", dict(Counter(line.level for line in lines)))
