"""The result of one check, and the child processes that the checks run."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from swarm.admission.lease import child_env
from swarm.errors import AdmissionError
from swarm.gpu.reading import DeviceReading

ROOT = Path(__file__).parents[3]
CHILD = ROOT / "swarm" / "harness" / "selftest_child.py"
CAP_MIB = 1024
SETTLE_S = 20.0
START_S = 120.0
UNPROVEN = "not proven"
ABSENT = "not available"


@dataclass(frozen=True, slots=True)
class Check:
    """`passed` is None for a measurement that has no right answer, and for what could not be tried."""

    name: str
    passed: bool | None
    value: float | str
    unit: str
    detail: str = ""


def cap(device: DeviceReading) -> dict[str, str]:
    """The environment of a child that is capped as a trial is."""
    fraction = CAP_MIB / device.total_mib
    return {**child_env(device.uuid, fraction), "SELFTEST_FRACTION": f"{fraction:.6f}"}


@contextmanager
def child(
    device: DeviceReading, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `selftest_child.py` on this device. It is killed at the end, whatever it does."""
    whole = {**os.environ, "CUDA_VISIBLE_DEVICES": device.uuid, **(env or {})}
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], env=whole, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[bytes], timeout_s: float = START_S) -> Mapping[str, object]:
    """The next thing a child says. Raises AdmissionError when it says nothing, or reports an error."""
    output: IO[bytes] | None = process.stdout  # unbuffered, so that `select` sees every line
    if output is None or not select.select([output], [], [], timeout_s)[0]:
        raise AdmissionError(f"the self-test's child said nothing for {timeout_s:g} s. Is the GPU in use by others?")
    text = output.readline()
    if not text:
        raise AdmissionError(f"the self-test's child ended with code {process.wait()} before it had answered")
    said: dict[str, object] = json.loads(text)
    if "error" in said:
        raise AdmissionError(f"the self-test's child failed: {said['error']}")
    return said


def last_line(process: subprocess.Popen[bytes]) -> Mapping[str, object]:
    while True:
        said = line(process)
        if said.get("done"):
            process.wait(SETTLE_S)
            return said


def stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise AdmissionError("the self-test's child has no input")
    return process.stdin
