"""Does the card do what the policy believes of it? For `swarm gpu selftest`.

Context size, a cap that bites while a neighbour trains on, memory that comes back after a kill, pids that NVML shows,
and what sharing does to speed. Torch runs in child processes only. On a machine without a GPU it says so.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from swarm.admission.lease import child_env
from swarm.errors import AdmissionError
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import DeviceReading, NoDevice

CHILD = Path(__file__).parents[2] / "models" / "harness" / "selftest_child.py"
NEVER = "never verified on a GPU"
CAP_MIB = 1024
TRAINING_S = 10.0
SETTLE_S = 20.0
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `passed` is None for a measurement that has no right answer."""

    name: str
    passed: bool | None
    value: float | str
    unit: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """`verified_on` is the line for the README: card, driver, torch and date, or "never verified on a GPU"."""

    verified_on: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed; also true when nothing could be tried, so read `verified_on` with it."""
        return all(check.passed is not False for check in self.checks)


def selftest(report_path: Path | None = None, probe: NvmlProbe | None = None) -> SelftestReport:
    """Run all checks on the first device (two minutes) and write the report as JSON. The device should be idle.

    Raises AdmissionError when a child process does not answer; without a GPU it returns at once.
    """
    try:
        probe = probe or NvmlProbe()
    except NoDevice as error:
        report = SelftestReport(NEVER, (Check("device", None, "none", "", str(error)),))
    else:
        report = _run(probe)
    if report_path is not None:
        report_path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return report


def _run(probe: NvmlProbe) -> SelftestReport:
    device = probe.read()[0]
    if device.lost:
        raise AdmissionError(f"{device.name} does not answer: {device.fault}")
    context, torch_version = _context(probe, device)
    checks = (*context, *_cap_and_neighbour(device), *_kill(probe, device), *_pair(device))
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return SelftestReport(f"{device.name}, driver {probe.driver_version()}, torch {torch_version}, {when}", checks)


def _context(probe: NvmlProbe, device: DeviceReading) -> tuple[tuple[Check, ...], str]:
    before = _read(probe, device)
    with _child(device, "context") as process:
        said = _line(process)
        during = _read(probe, device)
        pid = int(str(said["pid"]))
        _stdin(process).write(b"\n")
        process.wait(SETTLE_S)
    used = before.free_mib - during.free_mib - int(str(said["reserved_mib"]))
    visible = any(use.pid == pid and use.used_mib is not None for use in during.processes)
    return (
        Check("context", None, used, "MiB", "device memory of a process with one tensor, beside torch's own"),
        Check("pid visible", None, "yes" if visible else "no", "", f"attribution is {during.attribution.value}"),
    ), str(said["torch"])


def _cap_and_neighbour(device: DeviceReading) -> tuple[Check, ...]:
    """One process passes its cap while another trains."""
    with _child(device, "train", str(TRAINING_S), "512") as neighbour:
        _line(neighbour)
        with _child(device, "overrun", str(2 * CAP_MIB), cap_mib=CAP_MIB) as greedy:
            said = _line(greedy)
            greedy.wait(SETTLE_S)
        last = _last_line(neighbour)
    bites = bool(said.get("out_of_memory")) and float(str(said["held_mib"])) <= CAP_MIB
    return (
        Check("cap bites", bites, float(str(said["held_mib"])), "MiB", f"held at a cap of {CAP_MIB} MiB"),
        Check("neighbour trains on", neighbour.returncode == 0, float(str(last["longest_pause_s"])), "s longest pause"),
    )


def _kill(probe: NvmlProbe, device: DeviceReading) -> tuple[Check, ...]:
    before = _read(probe, device).free_mib
    with _child(device, "train", str(10 * TRAINING_S), "4096") as process:
        _line(process)
        process.kill()
        killed = time.monotonic()
        process.wait(SETTLE_S)
        while _read(probe, device).free_mib < before - 64 and time.monotonic() - killed < SETTLE_S:
            time.sleep(0.02)
    took = time.monotonic() - killed
    return (Check("memory returns after a kill", took < 10.0, round(took, 3), "s", "at most 10 s are waited for it"),)


def _pair(device: DeviceReading) -> tuple[Check, ...]:
    with _child(device, "train", str(TRAINING_S), "512") as alone:
        solo = float(str(_last_line(alone)["steps_per_s"]))
    with _child(device, "train", str(TRAINING_S), "512") as one, _child(device, "train", str(TRAINING_S), "512") as two:
        both = sum(float(str(_last_line(process)["steps_per_s"])) for process in (one, two))
    return (Check("pair speed-up", None, round(both / solo, 3), "x", f"{solo:.1f} steps/s alone, {both:.1f} together"),)


@contextmanager
def _child(device: DeviceReading, *arguments: str, cap_mib: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": device.uuid}
    if cap_mib is not None:
        fraction = cap_mib / device.total_mib
        env |= {**child_env(device.uuid, fraction), "SELFTEST_FRACTION": f"{fraction:.6f}"}
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[bytes], timeout_s: float = START_S) -> Mapping[str, object]:
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


def _last_line(process: subprocess.Popen[bytes]) -> Mapping[str, object]:
    while True:
        said = _line(process)
        if said.get("done"):
            process.wait(SETTLE_S)
            return said


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise AdmissionError("the self-test's child has no input")
    return process.stdin


def _read(probe: NvmlProbe, device: DeviceReading) -> DeviceReading:
    reading = next(reading for reading in probe.read() if reading.uuid == device.uuid)
    if reading.lost:
        raise AdmissionError(f"{device.name} does not answer: {reading.fault}")
    return reading
