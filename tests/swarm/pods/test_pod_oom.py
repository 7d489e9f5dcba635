"""The watchdog is the last one that a lack of memory ends, and what it has done by others is not spared with it."""

import subprocess
import sys
from pathlib import Path

import pytest
from fakes.fake_clock import FakeClock
from fakes.pod_in_a_folder import order_for

from swarm.pods.inside import oom
from swarm.pods.inside.chores import PodChores
from swarm.pods.inside.home import Home
from swarm.pods.inside.told import read_order
from swarm.pods.order import Source

SHIELDS = "from swarm.pods.inside.oom import shield; print(shield()); print(open('/proc/self/oom_score_adj').read())"


def test_the_kernel_is_asked_to_spare_it_or_the_reason_is_told() -> None:
    ran = subprocess.run([sys.executable, "-c", SHIELDS], capture_output=True, text=True, timeout=30, check=True)
    problem, score = ran.stdout.split("\n")[:2]
    assert (problem, score) == ("None", "-1000") or ("may not lower" in problem and score != "-1000")


def test_where_it_may_not_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(oom, "_PROC", tmp_path)
    assert "the entry script begins another" in str(oom.shield())
    (tmp_path / "self").mkdir()
    assert oom.shield() is None and (tmp_path / "self" / "oom_score_adj").read_text() == "-1000"


def test_what_it_has_done_by_others_is_not_spared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exposed: list[int] = []
    monkeypatch.setattr("swarm.pods.inside.chores.expose", exposed.append)
    home, order = Home(tmp_path), order_for(Source(kind="repository", commit="c" * 40, url="x"), now=0.0)
    home.make()
    chore = PodChores(home, read_order(order.model_dump_json()), FakeClock(), {})._start(
        ["true"], {"PATH": "/bin"}, 5.0
    )
    assert len(exposed) == 1
    while chore.poll() is None:
        pass


def test_a_child_of_one_that_is_spared_is_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        oom.expose(child.pid, oom.BEFORE_OTHERS)
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "300\n"
        child.kill()
    oom.expose(child.pid)  # one that is gone
    (tmp_path / "7").mkdir()
    monkeypatch.setattr(oom, "_PROC", tmp_path)
    oom.expose(7)
    assert (tmp_path / "7" / "oom_score_adj").read_text() == "0"
