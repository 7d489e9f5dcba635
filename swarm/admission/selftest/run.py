"""The checks on the card itself, and the report."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from swarm.admission.selftest.children import CAP_MIB, SETTLE_S, UNPROVEN, Check, cap, child, last_line, line, stdin
from swarm.admission.selftest.limits import MPS_LIMIT, NVML_LIMIT, SANDBOX, cuda_in_the_sandbox, mps_limit, nvml_limit
from swarm.errors import AdmissionError
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import DeviceReading, NoDevice

NEVER = "never verified on a GPU"
CONTEXT, PID, CAP, NEIGHBOUR = "context", "pid visible", "cap bites", "neighbour trains on"
KILL, PAIR = "memory returns after a kill", "pair speed-up"
PROMISES = (CONTEXT, PID, CAP, NEIGHBOUR, KILL, PAIR, SANDBOX, MPS_LIMIT, NVML_LIMIT)
TRAINING_S = 10.0


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
        untried = (Check(name, None, UNPROVEN, "", "there is no GPU") for name in PROMISES)
        report = SelftestReport(NEVER, (Check("device", None, "none", "", str(error)), *untried))
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
    checks = (
        *context,
        *_cap_and_neighbour(device),
        *_kill(probe, device),
        *_pair(device),
        cuda_in_the_sandbox({"CUDA_VISIBLE_DEVICES": device.uuid}),
        mps_limit(device),
        nvml_limit(probe),
    )
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return SelftestReport(f"{device.name}, driver {probe.driver_version()}, torch {torch_version}, {when}", checks)


def _context(probe: NvmlProbe, device: DeviceReading) -> tuple[tuple[Check, ...], str]:
    before = _read(probe, device)
    with child(device, "context") as process:
        said = line(process)
        during = _read(probe, device)
        pid = int(str(said["pid"]))
        stdin(process).write(b"\n")
        process.wait(SETTLE_S)
    used = before.free_mib - during.free_mib - int(str(said["reserved_mib"]))
    visible = any(use.pid == pid and use.used_mib is not None for use in during.processes)
    return (
        Check(CONTEXT, None, used, "MiB", "device memory of a process with one tensor, beside torch's own"),
        Check(PID, None, "yes" if visible else "no", "", f"attribution is {during.attribution.value}"),
    ), str(said["torch"])


def _cap_and_neighbour(device: DeviceReading) -> tuple[Check, ...]:
    """One process passes its cap while another trains."""
    with child(device, "train", str(TRAINING_S), "512") as neighbour:
        line(neighbour)
        with child(device, "overrun", str(2 * CAP_MIB), env=cap(device)) as greedy:
            said = line(greedy)
            greedy.wait(SETTLE_S)
        last = last_line(neighbour)
    bites = bool(said.get("out_of_memory")) and float(str(said["held_mib"])) <= CAP_MIB
    return (
        Check(CAP, bites, float(str(said["held_mib"])), "MiB", f"held at a cap of {CAP_MIB} MiB"),
        Check(NEIGHBOUR, neighbour.returncode == 0, float(str(last["longest_pause_s"])), "s longest pause"),
    )


def _kill(probe: NvmlProbe, device: DeviceReading) -> tuple[Check, ...]:
    before = _read(probe, device).free_mib
    with child(device, "train", str(10 * TRAINING_S), "4096") as process:
        line(process)
        process.kill()
        killed = time.monotonic()
        process.wait(SETTLE_S)
        while _read(probe, device).free_mib < before - 64 and time.monotonic() - killed < SETTLE_S:
            time.sleep(0.02)
    took = time.monotonic() - killed
    return (Check(KILL, took < 10.0, round(took, 3), "s", "at most 10 s are waited for it"),)


def _pair(device: DeviceReading) -> tuple[Check, ...]:
    with child(device, "train", str(TRAINING_S), "512") as alone:
        solo = float(str(last_line(alone)["steps_per_s"]))
    with child(device, "train", str(TRAINING_S), "512") as one, child(device, "train", str(TRAINING_S), "512") as two:
        both = sum(float(str(last_line(process)["steps_per_s"])) for process in (one, two))
    return (Check(PAIR, None, round(both / solo, 3), "x", f"{solo:.1f} steps/s alone, {both:.1f} together"),)


def _read(probe: NvmlProbe, device: DeviceReading) -> DeviceReading:
    reading = next(reading for reading in probe.read() if reading.uuid == device.uuid)
    if reading.lost:
        raise AdmissionError(f"{device.name} does not answer: {reading.fault}")
    return reading
