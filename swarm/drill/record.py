"""The brain alone: killed writers, a torn line, a full disk."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from swarm.brain import Brain, read_records, verify
from swarm.drill.finding import Finding, Scene
from swarm.drill.target import NAME
from swarm.errors import BrainError
from swarm.records import Note

KILLED = "An acknowledged record survives kill -9 and is there once."
TORN = "A line torn at any byte costs only itself."
FULL = "A full disk costs nothing that was acknowledged, and the study's next append finds room again."

_WRITERS = 3
_TEARS = 6


def play(folder: Path, _ends_by: float) -> Iterator[Finding]:
    brain = folder / "swarm_brain.jsonl"
    Brain(brain).append(Note(study_id=NAME))
    yield _killed(brain)
    yield _torn(brain)
    yield _full(brain)


def _killed(brain: Path) -> Finding:
    writers = [_writer(brain, f"writer{number}") for number in range(_WRITERS)]
    said = []
    try:
        for writer in writers:  # each has said something before it is killed
            assert writer.stdout is not None
            said.append(writer.stdout.readline())
        for writer in writers:
            time.sleep(0.1)
            writer.send_signal(signal.SIGKILL)
    finally:
        for writer in writers:
            writer.kill()
    said += [line for writer in writers for line in writer.communicate()[0].splitlines(keepends=True)]
    # A last word without its end was cut by the kill: nobody was told.
    acknowledged = {line.strip() for line in said if line.endswith("\n")}
    found = Counter(record.id for record in read_records(brain))
    lost = acknowledged - found.keys()
    twice = [name for name in acknowledged if found[name] > 1]
    ok = bool(acknowledged) and not lost and not twice and _holds(brain)
    return Finding(
        KILLED, ok, f"{len(acknowledged)} acknowledged by killed writers, {len(lost)} lost, {len(twice)} twice"
    )


def _torn(brain: Path) -> Finding:
    """The end of the last line is cut off, as a power failure may leave it; then somebody appends."""
    writer, before = Brain(brain), len(list(read_records(brain)))
    line = brain.read_bytes().splitlines(keepends=True)[-1]
    good = 0
    for number in range(_TEARS):
        with brain.open("ab") as file:
            file.write(line[: max(1, number * len(line) // _TEARS)])
        try:
            (Brain(brain) if number % 2 else writer).append(Note(study_id=NAME, id=f"after-{number}"))
        except BrainError:
            continue
        good += len(list(read_records(brain))) == before + number + 1 and _holds(brain)
    return Finding(TORN, good == _TEARS, f"{good} of {_TEARS} torn lines were set aside and cost nothing else")


def _full(brain: Path) -> Finding:
    before = {record.id for record in read_records(brain)}
    said = subprocess.run(_command(brain, "filler", "1500"), stdout=subprocess.PIPE, text=True, timeout=30, check=False)
    lines = said.stdout.splitlines()
    refused = [line for line in lines if line.startswith("full")]
    acknowledged = {line for line in lines if not line.startswith("full")} | before
    lost = acknowledged - {record.id for record in read_records(brain)}
    ok = len(refused) == 1 and not lost and lines[-1] != refused[-1] and _holds(brain)
    what = refused[0].removeprefix("full ")[:120] if refused else "the disk never was full"
    return Finding(FULL, ok, f"{len(lost)} lost; {what}")


def _holds(brain: Path) -> bool:
    report = verify(brain)
    return report.ok and not report.torn_bytes


def _writer(brain: Path, name: str) -> "subprocess.Popen[str]":
    command = _command(brain, name)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def _command(brain: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "swarm.drill.writer", str(brain), *arguments]


SCENE = Scene("the record", (KILLED, TORN, FULL), play)
