"""`swarm doctor --agents`, with stand-ins that really ask the scripted model."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarm.clock import SystemClock
from swarm.sandbox.landlock import can_restrict_writing
from workers.agent_check import check
from workers.agent_check.check import check_agents
from workers.agent_check.trying import NAMES, try_scene
from workers.proposers.cli_agent import AgentSpec, load_agents

STANDIN = Path(__file__).parents[1] / "fakes" / "fake_agents" / "asking_agent.py"
needs_a_wall = pytest.mark.skipif(not can_restrict_writing(), reason="the kernel has no Landlock 3")


def standin(folder: Path, habit: str) -> tuple[AgentSpec, dict[str, str]]:
    """`asking`, started with the table of aider, and the PATH that it is found on."""
    script = folder / "bin" / "asking"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(STANDIN), habit])} "$@"\n')
    script.chmod(0o755)
    aider = load_agents()["aider"]
    spec = aider.model_copy(update={"argv": ("asking", *aider.argv[1:])})
    return spec, {"PATH": f"{script.parent}:{os.environ['PATH']}"}


@needs_a_wall
def test_one_that_does_as_expected_is_found_with_its_version(tmp_path: Path) -> None:
    spec, environ = standin(tmp_path, "none")
    agents = {"asking": spec, "absent": AgentSpec(argv=("no-such-agent",), prompt="stdin")}
    wall, asking, absent = check_agents(agents, environ, SystemClock())
    assert wall["verdict"] == "ok" and "Landlock" in wall["detail"]
    assert asking["verdict"] == "ok", asking
    assert "asking 1.2.3; as expected: edit, outside, no change, 401, 429" in asking["detail"]
    assert "not installed: absent" in absent["detail"]


@needs_a_wall
@pytest.mark.parametrize(
    ("habit", "said"),
    [
        ("silent", "401: no_change where llm_auth was due"),
        ("deaf", "edit: it never asked the scripted model; no_change where a proposal was due"),
    ],
)
def test_one_that_does_not_is_found_with_what_went_wrong(tmp_path: Path, habit: str, said: str) -> None:
    spec, environ = standin(tmp_path, habit)
    _, asking = check_agents({"asking": spec}, environ, SystemClock())
    assert asking["verdict"] == "warn" and said in asking["detail"] and "SWARM_AGENTS" in asking["detail"]


def test_without_a_wall_the_finding_says_so_and_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_wall = tmp_path / "no_wall.py"
    no_wall.write_text("import os, sys\nend = sys.argv.index('--')\nos.execvp(sys.argv[end + 1], sys.argv[end + 1:])\n")
    monkeypatch.setattr("workers.proposers.cli_agent.process._WALL", no_wall)
    monkeypatch.setattr(check, "can_restrict_writing", lambda: False)
    spec, environ = standin(tmp_path, "none")
    wall, asking = check_agents({"asking": spec}, environ, SystemClock())
    assert wall["verdict"] == "risk" and "3 is needed" in wall["detail"]
    assert asking["verdict"] == "risk" and "it wrote outside" in asking["detail"]


def test_one_that_hangs_is_stopped_and_named(tmp_path: Path) -> None:
    spec, environ = standin(tmp_path, "none")
    started = time.monotonic()
    tried = try_scene("asking", spec, "hang", folder=tmp_path, environ=environ, deadline_s=2.0)
    assert (tried.code, tried.asked) == (NAMES["hang"], 1) and tried.is_right
    assert time.monotonic() - started < 20


def test_what_an_agent_may_see_of_the_person_who_asks_is_no_key(tmp_path: Path) -> None:
    spec = AgentSpec(
        argv=("sh", "-c", "env > $HOME/seen"), prompt="stdin", env=("OPENAI_API_KEY",), rename={"OPENAI_BASE_URL": "B"}
    )
    environ = {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "a-real-key", "OPENAI_BASE_URL": "https://example.org"}
    try_scene("own", spec, "edit", folder=tmp_path, environ=environ, deadline_s=10.0)
    seen = (tmp_path / "calls/home/seen").read_text()
    assert "OPENAI_API_KEY=swarm-check" in seen and "B=http://127.0.0.1" in seen
    assert "a-real-key" not in seen and "example.org" not in seen


def test_the_command_line_asks_for_it(tmp_path: Path) -> None:
    own = tmp_path / "agents.toml"
    own.write_text('[sleeping]\nargv = ["sh", "-c", "true"]\nprompt = "stdin"\n')
    environ = {**os.environ, "SWARM_AGENTS": str(own), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers.checking", "agents"],
        env=environ, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    found = {line["check"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert "coding agents' writing" in found and "coding agent sleeping" in found
