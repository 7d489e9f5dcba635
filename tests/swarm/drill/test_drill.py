"""The drill: each of its lines can turn red, and what it says is one object with a list."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fakes.git_repository import make_repository

import swarm.brain.blackboard
import swarm.drill
from swarm.cli.drill import drill
from swarm.drill import Finding, canary, night, promises, record, servers, stash
from swarm.drill.finding import Fault, Scene
from swarm.drill.run import run

ROOT = Path(__file__).parents[3]
DRILL = [sys.executable, "-P", "-m", "swarm", "drill"]


def red(*scenes: Scene) -> list[str]:
    return [finding.promise for finding in run(scenes) if not finding.ok]


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose code runs at the start of every `swarm` and every worker: where a safeguard is switched off."""
    code = tmp_path / "sitecustomize.py"
    before = os.environ.get("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), before]))
    yield code


def off(code: Path, *lines: str) -> None:
    body = "\n".join(textwrap.dedent(text) for text in lines)
    ours = "import sys\nif {'swarm', 'workers', 'swarm.drill.writer'} & set(sys.orig_argv):\n"
    code.write_text(ours + textwrap.indent(body, "    "))


def test_the_records_scene_is_green() -> None:
    assert red(record.SCENE) == []


def test_a_torn_line_that_is_not_set_aside_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm.brain.blackboard, "set_torn_bytes_aside", lambda *_: None)
    assert record.TORN in red(record.SCENE)


def test_an_acknowledgement_before_the_write_is_red(without: Path) -> None:
    off(without, "import swarm.brain.blackboard as b", "b.append_durably = lambda *_: None")
    assert record.KILLED in red(record.SCENE)


def test_a_short_write_that_nobody_takes_back_is_red(without: Path) -> None:
    off(
        without,
        "import swarm.brain.disk as d",
        "d._write_whole = lambda disk, fd, path, data, size: disk.write(fd, data)",
    )
    assert red(record.SCENE) == [record.FULL]


def test_what_a_scene_does_not_get_to_is_red_with_its_reason() -> None:
    def play(folder: Path, ends_by: float) -> Iterator[Finding]:
        yield Finding("one", True, "seen")
        raise Fault("two never came")

    found = list(run((Scene("a scene", ("one", "two", "three"), play),)))
    assert [(finding.promise, finding.ok) for finding in found] == [("one", True), ("two", False), ("three", False)]
    assert "two never came" in found[1].seen and "two never came" in found[2].seen


def test_a_scene_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[Path] = []

    def play(folder: Path, ends_by: float) -> Iterator[Finding]:
        seen.append(folder)
        (folder / "file").touch()
        raise Fault("no")
        yield

    list(run((Scene("a scene", ("one",), play),)))
    assert seen and seen[0].parent == tmp_path and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_json_is_one_object_with_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ok: bool, code: int
) -> None:
    findings = [Finding("one", True, "seen"), Finding("two [not markup]", ok, "seen too")]
    monkeypatch.setattr(swarm.drill, "run", lambda begin: (finding for finding in findings if begin("a scene") is None))
    assert drill(as_json=True) == code
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["ok"], len(answer["promises"])) == (ok, 2)
    assert answer["promises"][1] == {"promise": "two [not markup]", "ok": ok, "seen": "seen too"}
    assert ("FAIL  two [not markup]" in said.err) != ok


def test_each_of_its_promises_is_on_the_page() -> None:
    page = (ROOT / "docs/promises.md").read_text().partition("## Tried on your machine")[2].partition("\n## ")[0]
    bullets = [" ".join(text.rpartition("`test_")[0].split()) for text in re.split(r"^- ", page, flags=re.M)[1:]]
    assert bullets == list(promises())
    assert len(set(promises())) == len(promises())


SECRET = "sk-canary+/0123456789abcdef"


@pytest.mark.parametrize("form", sorted(canary.spellings(SECRET)), ids=lambda form: form[:12].decode())
def test_the_canary_is_found_in_each_spelling(tmp_path: Path, form: bytes) -> None:
    (tmp_path / "log").write_bytes(b"before " + form + b" after")
    assert canary.find(SECRET, tmp_path) == ["log"]
    assert canary.find(SECRET.replace("canary", "other"), tmp_path) == []


def test_the_canary_is_found_in_what_is_packed(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(SECRET.encode()))
    (tmp_path / "object").write_bytes(zlib.compress(SECRET.encode()))
    assert sorted(canary.find(SECRET, tmp_path)) == ["a.gz", "object"]


def test_the_canary_is_found_in_git(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    repo.write("models/toy/train.py", f"KEY = {SECRET!r}\n")
    repo.commit()
    repo.git("checkout", "-q", "HEAD~1")
    assert len(canary.find(SECRET, tmp_path)) == 1, "the loose object"
    repo.git("gc", "-q", "--prune=now")
    assert canary.find(SECRET, tmp_path) == ["repo: a packed object"]


# Whole drills, minutes each


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_every_promise_holds_within_three_minutes() -> None:
    began = time.monotonic()
    done = subprocess.run([*DRILL, "--json"], stdout=subprocess.PIPE, timeout=280, check=False)
    answer = json.loads(done.stdout)
    assert [line for line in answer["promises"] if not line["ok"]] == []
    assert [line["promise"] for line in answer["promises"]] == list(promises())
    assert done.returncode == 0 and answer["ok"]
    assert time.monotonic() - began < 180


BELIEVES_PROGRAMS = """
    from swarm.execution.runner import TrialRunner
    finish, order = TrialRunner._finish, TrialRunner._order
    def believing(self, trial, commit, outcome, **more):
        if outcome.score is not None and trial.claim.description == "lies about its score":
            score = outcome.score.model_copy(update={"validation_loss": 0.0001})
            outcome = outcome.model_copy(update={"score": score})
        finish(self, trial, commit, outcome, **more)
    TrialRunner._finish = believing
"""
GRANTS_EVERYTHING = """
    def generous(self, trial, commit):
        given = order(self, trial, commit)
        budget = given.budget.model_copy(update={"walltime_limit_s": 30.0})
        return given.model_copy(update={"budget": budget, "alone": trial.claim.description == "takes too much memory"})
    TrialRunner._order = generous
"""
LEAVES_THINGS = """
    from swarm.repo import Repo
    Repo.heal = lambda self: []
    Repo.remove_worktree = lambda self, agent_id: None
    commit = Repo.commit_change
    def careless(self, *arguments):
        (self.root / "notes.txt").write_text("ours")
        return commit(self, *arguments)
    Repo.commit_change = careless
"""


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_night_without_its_safeguards_is_red_where_they_are_missing(without: Path) -> None:
    off(without, BELIEVES_PROGRAMS, GRANTS_EVERYTHING, LEAVES_THINGS)
    expected = [night.LIES, night.MEMORY, night.HANGS, night.LOCKS, night.YOURS, night.CLEAN]
    assert red(night.SCENE) == expected


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_worker_that_nobody_replaces_is_red(without: Path) -> None:
    off(without, "import swarm.orchestrator.orchestrator as o", "o.RESTARTS_ALLOWED = 0")
    assert night.WORKER in red(night.SCENE)


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_key_that_nobody_takes_out_is_red(without: Path) -> None:
    off(without, "import workers.redact as r", "r.Redactor.__call__ = lambda self, text: text")
    assert red(servers.SCENE) == [servers.KEY]


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_an_arm_that_takes_its_worker_along_is_red(without: Path) -> None:
    raises = "def propose(self, arm, briefing):\n    raise ValueError('no')\nArms.propose = propose"
    off(without, "from workers.arms import Arms", raises)
    assert {servers.DOWN, servers.RUBBISH} <= set(red(servers.SCENE))


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_brain_that_is_not_put_back_is_red(without: Path) -> None:
    """The orchestrator and its workers read on in what the stash left, as if it had always been so."""
    off(without, "from swarm.brain.tail import Tail", "Tail._check_identity = lambda self, fd: None")
    assert red(stash.SCENE) == [stash.STASH]


@pytest.mark.chaos
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(tmp_path: Path, number: int) -> None:
    started = subprocess.Popen(DRILL, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("swarm-drill-*/repo/.swarm/trials/*/*")):
            assert started.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        started.send_signal(number)
        assert started.wait(20) == 130
    finally:
        started.kill()
        started.wait()
    assert list(tmp_path.glob("swarm-drill-*")) == []
    assert [process.pid for process in psutil.process_iter() if str(tmp_path) in " ".join(_command(process))] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []
