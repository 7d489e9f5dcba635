"""`swarm stop --now` is done within 10 s, whatever the study's processes do."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study, stopped_at_the_end

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
WITHIN_S = 10.0
DEAF = TRAIN.replace(
    "def main() -> None:\n",
    "def main() -> None:\n    import signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path, samples=3_000_000)


def stop_now(tiny: TinyStudy, up: "subprocess.Popen[str]", **extra: str) -> None:
    began = time.monotonic()
    done = tiny.swarm("stop", "--now", "--timeout", "60", **extra)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert took <= WITHIN_S
    up.wait(10)  # it sums up
    lines = [json.loads(line) for line in tiny.brain.read_text().splitlines()]
    claimed = [line["trial_id"] for line in lines if line["kind"] == "proposal_claimed"]
    ended = [line["trial_id"] for line in lines if line["kind"] == "trial_finished"]
    assert sorted(claimed) == sorted(ended)
    assert lines[-1]["kind"] == "study_closed"
    assert tiny.processes() == []
    tiny.swarm("gpu", "status", "--device", "cpu")  # whoever looks next reclaims what a killed worker held
    assert tiny.held_leases() == []


def test_a_trial_that_ignores_sigterm(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path, samples=3_000_000, train=DEAF)
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: any(trial.started for trial in study.trials.values()))
        stop_now(tiny, up)


@pytest.mark.parametrize("who", ["--agent-id worker_1", "swarm.supervisor.zygote_server"])
def test_a_process_that_is_stopped(tiny: TinyStudy, who: str) -> None:
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: len(study.trials) == 2)
        for pid in tiny.pids(who):
            os.kill(pid, signal.SIGSTOP)
        stop_now(tiny, up)


def test_a_git_that_hangs(tiny: TinyStudy, tmp_path: Path) -> None:
    """From the second trial on, for the workers: each claim commits or reads a program."""
    hang, shim = tmp_path / "hang", tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n[ -e "{hang}" ] && exec sleep 600\nexec "{shutil.which("git")}" "$@"\n')
    shim.chmod(0o755)
    up = tiny.start("--trials", "4", PATH=f"{shim.parent}:{os.environ['PATH']}")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: bool(study.trials))
        hang.touch()
        time.sleep(1)
        stop_now(tiny, up, PATH=os.environ["PATH"])


def test_interrupts_twice_at_once(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: len(study.trials) == 2)
        began = time.monotonic()
        up.send_signal(signal.SIGINT)
        time.sleep(0.05)
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 130
        assert time.monotonic() - began <= WITHIN_S
    assert tiny.processes() == [] and tiny.held_leases() == []
