"""What a graded target cannot keep in a repository, made once per machine by its own trusted command.

    <cache>/prepared/<target>-<hash>/     inputs/, private/, and those of [test]; for its owner alone
    <cache>/prepared/<target>-<hash>.sha256

The hash is that of all that made it: the command, the files that it sees, none of which a program may change, the data,
and the versions of Python and of the libraries that compute. Two processes at once make it once; it is built in another
folder and renamed, so that whoever dies on the way leaves nothing that is taken for the whole.

Not promised: that two machines make the same to the last bit. A study is known by the content, not by the recipe.
"""

import hashlib
import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import TargetError
from swarm.execution.prepared import content_sha256, read_prepared
from swarm.orchestrator.data import DataReport, data_sha256, own_data, prepare_data
from swarm.program.globs import matches, may_change
from swarm.records import Grading
from swarm.study.options import DataChoice
from swarm.target.file import Target
from swarm.target.tables import PrepareTable
from swarm.trial.config import Device
from swarm.trial.contract import CACHE_VARIABLE, code_root
from swarm.trial.files import remove_tree, write_whole

DATA_DIR_VARIABLE = "SWARM_DATA_DIR"
_LIBRARIES = ("numpy", "torch")
_PYTHONS = ("python", "python3")
_MARGIN_S = 60.0  # beside the limit of the command itself, for whoever waits
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    folder: Path
    sha256: str


def prepare(target: Target, files: Mapping[str, bytes], data: DataReport | None, say: Say) -> Prepared | None:
    """What `target` needs beside `files`, made unless it is there; None where it needs nothing. `data`: what [prepare]
    data names. Raises TargetError."""
    if target.prepare is None or target.grading is None:
        return None
    fixed = {
        path: content
        for path, content in files.items()
        if matches(path, target.prepare.files) and not may_change(path, target.terms)
    }
    place = _cache() / f"{target.name}-{_key(target.prepare, fixed, data)[:16]}"
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock"), target.prepare.limit_s, say):
        found = _there(place)
        if found is None:
            say(f"preparing {target.name}, once per machine: {target.prepare.command}")
            found = _made(place, target, target.grading, target.prepare, fixed, data, say)
        return Prepared(place, found)


def study_data(
    target: Target, root: Path, files: Mapping[str, bytes], choice: DataChoice, device: Device, say: Say
) -> tuple[DataReport, Prepared | None]:
    """The data of a study, and what its target makes of it and `files` once per machine. Raises SwarmError."""
    if target.grading is None:
        return prepare_data(choice, device, target.harness, say), None
    named = target.prepare.data if target.prepare is not None else None
    data = prepare_data(choice, device, named, say) if named is not None else None
    return data or own_data(root, target.grading, os.environ), prepare(target, files, data, say)


def prepared_files(target: Target, files: Mapping[str, bytes], say: Say) -> dict[str, bytes]:
    """`files` with what is made for them, on a CPU and with the data that `auto` takes. Raises SwarmError."""
    named = target.prepare.data if target.prepare is not None else None
    data = prepare_data("auto", "cpu", named, say) if named is not None else None
    made = prepare(target, files, data, say)
    return {**files, **(read_prepared(made.folder) if made is not None else {})}


def _there(place: Path) -> str | None:
    """The hash of what is there, if that is what was once made."""
    try:
        wanted = place.with_suffix(".sha256").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return wanted if wanted and content_sha256(read_prepared(place)) == wanted else None


def _made(
    place: Path,
    target: Target,
    grading: Grading,
    table: PrepareTable,
    fixed: Mapping[str, bytes],
    data: DataReport | None,
    say: Say,
) -> str:
    """Raises TargetError; what was half made is deleted."""
    building, result = place.with_suffix(".building"), place.with_suffix(".new")
    for left in (building, result, place):
        remove_tree(left)
    building.mkdir(mode=0o700)
    try:
        for path, content in fixed.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            (building / path).write_bytes(content)
        for folder in _folders(grading):
            (building / folder).mkdir(parents=True, exist_ok=True)
        _run(table, building, data, say)
        result.mkdir(mode=0o700)
        for folder in _folders(grading):
            for file in (building / folder).rglob("*"):
                name = file.relative_to(building)
                if name.as_posix() in fixed or (file.is_dir() and not file.is_symlink()):
                    continue
                (result / name).parent.mkdir(parents=True, exist_ok=True)
                file.rename(result / name)
        made = read_prepared(result)
        if not made:
            raise TargetError(
                f"{target.name}: [prepare] command {table.command!r} left no file below {', '.join(_folders(grading))}"
            )
        sha256 = content_sha256(made)
        result.rename(place)
        write_whole(place.with_suffix(".sha256"), sha256 + "\n", durable=True)
        return sha256
    finally:
        remove_tree(building)
        remove_tree(result)


def _run(table: PrepareTable, folder: Path, data: DataReport | None, say: Say) -> None:
    """In a session of its own, which is killed at the limit and with this process's interrupt. Raises TargetError."""
    program, *arguments = shlex.split(table.command)
    command = [sys.executable if program in _PYTHONS else program, *arguments]
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": str(code_root())}
    environment.update(PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    if data is not None:
        environment[DATA_DIR_VARIABLE] = str(data.data_dir)
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise TargetError(f"[prepare] command {table.command!r} cannot be started: {error.strerror}") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(table.limit_s, end)
    timer.start()
    last = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip() or last
            say(last)
        process.wait()
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if late.is_set():
        raise TargetError(
            f"[prepare] command {table.command!r} took longer than its limit of {table.limit_s:g} s: raise limit_s"
        )
    if process.returncode != 0:
        raise TargetError(
            f"[prepare] command {table.command!r} ended with exit code {process.returncode}: {last[:300]}"
        )


def _kill(process: "subprocess.Popen[str]") -> None:
    """It and whatever it has started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _locked(path: Path, limit_s: float, say: Say) -> Iterator[None]:
    """One process makes it and the others wait, no longer than that may take. The kernel frees the lock of whoever
    died. Raises TargetError."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("another process is preparing it; waiting")
        try:
            lock.acquire(timeout=limit_s + _MARGIN_S)
        except Timeout as error:
            raise TargetError(f"{path} is held by another process for longer than [prepare] limit_s allows") from error
    try:
        yield
    finally:
        lock.release()


def _key(table: PrepareTable, fixed: Mapping[str, bytes], data: DataReport | None) -> str:
    versions = {name: _version(name) for name in _LIBRARIES}
    made_of = {
        "command": table.command,
        "files": content_sha256(fixed),
        "data": [data.dataset, data_sha256(data.data_dir)] if data is not None else [],
        "python": sys.version_info[:3],
        "libraries": versions,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _folders(grading: Grading) -> tuple[str, ...]:
    """Where its files may lie, an outer folder before what is inside it."""
    named = (grading.inputs, grading.private, grading.test_inputs, grading.test_private)
    return tuple(dict.fromkeys(folder for folder in named if folder))


def _cache() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else Path.home() / ".cache" / "swarm") / "prepared"
