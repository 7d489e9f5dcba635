"""From an order to a clone in which `swarm up` can run: the bundle or the repository, and the interpreter.

All of it may be done again: what is there already is left alone.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from swarm.pods.inside.home import Home
from swarm.pods.inside.life import Clock
from swarm.pods.inside.told import Order, without_pod_secrets

LOOK_EVERY_S = 0.5
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMPLETE = "import swarm.cli.app, torch, torchvision, optuna"
_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "gc.auto=0")


class NoCode(Exception):
    """The study's files are not to be had, or nothing can run them; the message says why."""


Run = Callable[[list[str], Path, Mapping[str, str]], int]
"""Runs a command to its end with its output in the entry's log; its exit code."""


def awaited(home: Home, order: Order, clock: Clock, wanted: Callable[[], bool]) -> None:
    """Until the bundle lies there whole. Raises NoCode when nobody waits any more: the watchdog keeps the time."""
    while not _is_whole(home.bundle, order.source.sha256):
        if not wanted():
            raise NoCode("no bundle came")
        clock.sleep(LOOK_EVERY_S)


def unpack(home: Home, order: Order, run: Run, environment: Mapping[str, str]) -> None:
    """The clone with the order's commit checked out. One that is half is made anew. Raises NoCode."""
    commit = order.source.commit
    if not _COMMIT.fullmatch(commit):
        raise NoCode(f"{commit!r} is not a full commit id")
    if (home.repo / ".git").is_dir():
        return
    half = home.root / "repo.half"
    shutil.rmtree(half, ignore_errors=True)
    source = str(home.bundle) if order.source.kind == "bundle" else order.source.url or ""
    if source.startswith("-") or not source:
        raise NoCode(f"{source!r} is no address of a repository")
    git = {**environment, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    for command in (
        [*_GIT, "clone", "--quiet", "--no-checkout", "--", source, str(half)],
        [*_GIT, "-C", str(half), "checkout", "--quiet", "-B", "pod", commit],
    ):
        if (code := run(command, home.root, git)) != 0:
            raise NoCode(f"git {command[len(_GIT)]} of {source} ended with {code}: see log/entry.log")
    half.replace(home.repo)


def set_up(home: Home, run: Run, environment: Mapping[str, str]) -> str:
    """The interpreter that has what the study needs: the first one on the PATH if it has it, as in an image of ours,
    else the clone's own, made by its Makefile. Raises NoCode."""
    found = shutil.which("python3", path=environment.get("PATH"))
    if found is not None and run([found, "-c", _COMPLETE], home.repo, environment) == 0:
        return found
    if (code := run(["make", "--quiet", ".venv/.ready"], home.repo, environment)) != 0:
        raise NoCode(f"make .venv/.ready ended with {code}: see log/entry.log")
    return str(own_python(home))


def own_python(home: Home) -> Path:
    return home.repo / ".venv" / "bin" / "python"


def study_environment(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """What `swarm up` sees: its own code first, and no key of the pod."""
    path = os.pathsep.join(part for part in (str(home.repo), environment.get("PYTHONPATH")) if part)
    return {**without_pod_secrets(environment), "PYTHONPATH": path, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


def run_logged(log: Path, meanwhile: Callable[[], None]) -> Run:
    """`meanwhile` is called twice a second; what it raises ends the command."""

    def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> int:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            while True:
                try:
                    return process.wait(LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    meanwhile()
        finally:
            process.kill()
            process.wait()

    return run


def _is_whole(bundle: Path, sha256: str | None) -> bool:
    try:
        with bundle.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return sha256 is None or digest == sha256
