"""Around a study whose trials run on nodes: its exchange is open, and whatever starts nodes runs."""

import contextlib
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import MissingExtra, NodeError
from swarm.nodes.host import ExchangeHost, nodes_address
from swarm.nodes.ray_launcher import END, READY
from swarm.nodes.values import BEAT_S, LEASE_S, Terms
from swarm.orchestrator.data import OWN, data_sha256
from swarm.study.settings import RunSettings
from swarm.trial.contract import code_root
from swarm.version import VERSION, missing

READY_LIMIT_S = 120.0
END_LIMIT_S = 40.0
RESTART_PAUSE_S = 5.0
ALL_INTERFACES = "0.0.0.0"


@contextlib.contextmanager
def serving(
    settings: RunSettings,
    clock: Clock,
    say: Callable[[str], None],
    device_class: str | None = None,
    lease_s: float = LEASE_S,
) -> Iterator[ExchangeHost | None]:
    """None for a study on this machine alone. `device_class`: what its trials so far ran on. Raises NodeError and
    MissingExtra."""
    if not settings.on_nodes:
        yield None
        return
    kind, _, rest = settings.executor.partition(":")
    if settings.grading is not None and settings.grading.environment:
        raise NodeError(
            f"--executor {settings.executor}: the grader of {settings.target} is told "
            f"{', '.join(settings.grading.environment)}, which nodes do not have, and keys do not travel. "
            "Leave --executor out."
        )
    if kind in ("ray", "slurm") and (absent := missing(kind)):
        raise MissingExtra(kind, absent)
    alone = kind == "ray" and not rest
    host = ExchangeHost(
        settings.layout,
        terms_of(settings),
        clock,
        listen="127.0.0.1" if alone else ALL_INTERFACES,
        announced="127.0.0.1" if alone else own_address(rest if kind == "ray" else ""),
        port=int(rest) if kind == "nodes" and rest else 0,
        device_class=device_class,
        lease_s=lease_s,
    )
    address = nodes_address(settings.layout, settings.study_id)
    try:
        with contextlib.ExitStack() as stack:
            if kind == "nodes":
                say(f"nodes join with: swarm node run --join {address}   (a copy of this file, kept secret)")
            else:
                log = settings.layout.study(settings.study_id) / f"{kind}.log"
                command = launcher_command(kind, rest, address, settings.study_id)
                stack.enter_context(_launched(kind, command, log, say))
            stack.callback(_let_go, host)
            yield host
    finally:
        host.close()


def terms_of(settings: RunSettings) -> Terms:
    brings_data = settings.grading is not None
    return Terms(
        study_id=settings.study_id,
        version=VERSION,
        harness_sha256=settings.harness_sha256,
        dataset=settings.dataset,
        data_sha256=OWN if brings_data else data_sha256(settings.data_dir),
        device=settings.device,
        brings_data=brings_data,
    )


def own_address(other: str) -> str:
    """The address by which the other machine, or any, reaches this one. No packet is sent."""
    target = other.rpartition(":")[0] or "192.0.2.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((target, 9))
            return str(asked.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def launcher_command(kind: str, rest: str, address: Path, study_id: str) -> list[str]:
    where = ["--exchange", str(address), "--study", study_id]
    return [sys.executable, "-P", "-m", f"swarm.nodes.{kind}_launcher", *where, *([f"--{kind}", rest] if rest else [])]


def _let_go(host: ExchangeHost) -> None:
    """Each node hears at its next beat that the study is over."""
    host.end()
    until = time.monotonic() + 3 * BEAT_S
    while any(node.runs for node in host.nodes() if node.state == "working") and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(BEAT_S)


@contextlib.contextmanager
def _launched(kind: str, command: Sequence[str], log: Path, say: Callable[[str], None]) -> Iterator[None]:
    """The launcher in a process of its own, and another one when it dies. Raises NodeError when it cannot begin."""
    process = _start(command, log)
    if (ready := _first_line(process)) is None:
        process.kill()
        process.wait()
        raise NodeError(f"--executor {kind} cannot start: {_last_line(log)}. Its log: {log}")
    say(f"{kind}: {ready.removeprefix(READY).strip()} node(s)")
    ended = threading.Event()
    current = [process]

    def keep() -> None:
        while not ended.wait(RESTART_PAUSE_S):
            if current[0].poll() is not None:
                current[0] = _start(command, log)

    keeper = threading.Thread(target=keep, name=f"{kind}-launcher", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        _end(current[0])


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """In a session of its own, so that Ctrl-C does not reach it; it ends when this process is gone."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=code_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )


def _first_line(process: "subprocess.Popen[bytes]") -> str | None:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], READY_LIMIT_S)[0]:
        return None
    line = process.stdout.readline().decode(errors="replace").strip()
    return line if line.startswith(READY) else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        assert process.stdin is not None
        process.stdin.write(END + b"\n")
        process.stdin.close()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:600] if lines else "it said nothing"
