"""Starts an agent in its workspace, behind the guard, with the environment that it may see."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from swarm.sandbox import writes
from swarm.sandbox.landlock import can_restrict_writing
from workers.proposers.cli_agent.agents import AgentSpec
from workers.proposers.cli_agent.guard import Report, Request
from workers.proposers.cli_agent.workspace import Workspace, put_files

MAX_OUTPUT_BYTES = 16 * 1024 * 1024
MAX_READ_CHARS = 4 * 1024 * 1024
GRACE_S = 5.0
GUARD_MARGIN_S = 20.0

_GUARD = Path(__file__).with_name("guard.py")
_WALL = Path(writes.__file__)
_PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ran:
    report: Report
    stdout: str
    stderr: str


def run_agent(
    spec: AgentSpec,
    workspace: Workspace,
    *,
    prompt: str,
    model: str | None,
    home: Path,
    variables: Mapping[str, str],
    deadline_s: float,
    grace_s: float = GRACE_S,
) -> Ran:
    """Runs it to its end or to its deadline, behind a wall against writing outside of its folder and its home;
    afterwards no process of it is left.

    `variables` is what may be passed on at all: the environment and the secrets. The agent sees the part of it that
    its table and the common list name.
    """
    call = workspace.call
    prompt_file = call / "prompt.md"
    prompt_file.write_text(prompt, encoding="utf-8")
    values = {
        "prompt": prompt,
        "prompt_file": str(prompt_file),
        "folder": str(workspace.folder),
        "file": workspace.editable,
        "home": str(home),
        "model": model or "",
        "base_url": spec.base_url(variables),
    }
    spec = spec.here(variables)
    put_files(home, spec.home_files(values))
    command = spec.command(values, walled=can_restrict_writing())
    request = Request(
        argv=[sys.executable, "-I", str(_WALL), str(workspace.folder), str(home), "--", *command],
        cwd=str(workspace.folder),
        stdin=str(prompt_file) if spec.prompt == "stdin" else os.devnull,
        stdout=str(call / "stdout"),
        stderr=str(call / "stderr"),
        report=str(call / "report.json"),
        deadline_s=deadline_s,
        grace_s=grace_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        parent_pid=os.getpid(),
        gives_up=spec.gives_up,
    )
    environment = _environment(workspace, home, variables) | spec.variables(variables, values)
    if shutil.which(spec.argv[0], path=environment.get("PATH")) is None:
        return Ran(Report("not_started", None, 0.0, 0, f"there is no program {spec.argv[0]}"), "", "")
    report = _guarded(request, call, environment)
    return Ran(report, _tail(call / "stdout"), _tail(call / "stderr"))


def _environment(workspace: Workspace, home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """No device, no repository, no terminal: an agent can neither train nor commit nor ask."""
    return {name: variables[name] for name in _PASSED_ON if name in variables} | {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "CUDA_VISIBLE_DEVICES": "",
        "NVIDIA_VISIBLE_DEVICES": "void",
        "GIT_DIR": os.devnull,  # every git command fails, also one that names another folder
        "GIT_CEILING_DIRECTORIES": str(workspace.call),
        "GIT_TERMINAL_PROMPT": "0",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CI": "1",
    }


def _guarded(request: Request, call: Path, environment: Mapping[str, str]) -> Report:
    request_file = call / "request.json"
    request_file.write_text(json.dumps(asdict(request)), encoding="utf-8")
    guard = subprocess.Popen(
        [sys.executable, "-I", str(_GUARD), str(request_file)],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        guard.wait(request.deadline_s + request.grace_s + GUARD_MARGIN_S)
        return Report(**json.loads(Path(request.report).read_text(encoding="utf-8")))
    except (subprocess.TimeoutExpired, OSError, ValueError, TypeError) as error:
        return Report("stopped", guard.poll(), 0.0, 0, f"the guard gave no report: {error}")
    finally:
        guard.terminate()
        guard.wait()


def _tail(path: Path) -> str:
    """The last part of an output, which holds the result; nothing if there is no output."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_READ_CHARS))
            return file.read(MAX_READ_CHARS).decode(errors="replace")
    except OSError:
        return ""
