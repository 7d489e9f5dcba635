"""Limits and confinement beside the allocator's cap: does MPS hold a process, could NVML, does CUDA run in the sandbox?

Nothing relies on the first two. A limit of MPS fails open where a process is not really connected to its server, and
one of NVML is a setting of the card that needs root; the swarm would use either only where this says that it bites.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from swarm.admission.selftest.children import ABSENT, CAP_MIB, SETTLE_S, START_S, UNPROVEN, Check, child, line
from swarm.errors import AdmissionError, SwarmError
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import DeviceReading
from swarm.sandbox.policy import Mode, gpu_devices
from swarm.supervisor import PhaseSpec, TrialResult, TrialSpec, launch
from swarm.trial.contract import code_root, harness_folders
from swarm.trial.folder import TrialFolder

MPS_CONTROL = "nvidia-cuda-mps-control"
NO_CUDA = 14  # exit code of swarm.harness.selftest_child
MPS_LIMIT, NVML_LIMIT, SANDBOX = "MPS limit", "NVML limit", "CUDA in the sandbox"


def mps_limit(device: DeviceReading) -> Check:
    """Does CUDA_MPS_PINNED_DEVICE_MEM_LIMIT stop a process that has no other cap? With a daemon of our own."""
    control = shutil.which(MPS_CONTROL)
    if control is None:
        return Check(MPS_LIMIT, None, ABSENT, "", f"{MPS_CONTROL} is not installed")
    try:
        with _mps_daemon(control, device) as server:
            limit = {**server, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={CAP_MIB}M"}
            with child(device, "overrun", str(2 * CAP_MIB), env=limit) as greedy:
                said = line(greedy)
                greedy.wait(SETTLE_S)
    except (OSError, subprocess.SubprocessError, AdmissionError) as error:
        return Check(MPS_LIMIT, None, UNPROVEN, "", str(error))
    held = float(str(said["held_mib"]))
    bites = bool(said.get("out_of_memory")) and held <= CAP_MIB
    return Check(MPS_LIMIT, None, "bites" if bites else UNPROVEN, "", f"held {held:g} MiB under {CAP_MIB} MiB")


def nvml_limit(probe: NvmlProbe) -> Check:
    """Only whether it could be tried: setting it would change the card for everybody."""
    if not probe.offers_memory_limits():
        return Check(NVML_LIMIT, None, ABSENT, "", "the NVML binding has no memory limits")
    whose = "needs root" if os.geteuid() != 0 else "would change the card for everybody"
    return Check(NVML_LIMIT, None, UNPROVEN, "", f"offered by the binding, but not tried: setting one {whose}")


def cuda_in_the_sandbox(env: Mapping[str, str]) -> Check:
    """One convolution in a phase that is confined like a trial: the device nodes and files that CUDA needs are open."""
    nodes = ", ".join(gpu_devices()) or "no device nodes"
    with tempfile.TemporaryDirectory(prefix="swarm-selftest-") as name:
        folder = Path(name).resolve()
        try:
            outcome = confined(folder, env)
        except SwarmError as error:
            return Check(SANDBOX, False, "not started", "", str(error))
        phase, level = outcome.phases[0], outcome.sandbox.level
        log = TrialFolder(folder).log_text("selftest").strip()
    last = log.splitlines()[-1] if log else ""
    if phase.exit_code == NO_CUDA:
        # Outside it CUDA has just worked (`context`), or there is no GPU at all.
        return Check(SANDBOX, False if gpu_devices() else None, UNPROVEN, "", f"{level}; {nodes}; {last}")
    return Check(SANDBOX, phase.ending == "ok", level, "", f"{nodes}; {last[:300]}")


def confined(folder: Path, env: Mapping[str, str], sandbox: Mode = "auto") -> TrialResult:
    """The child's `compute` as a phase of a trial in this folder. Raises SwarmError when it cannot be started."""
    files = TrialFolder(folder)
    files.make()
    files.config.write_text("{}", encoding="utf-8")
    phase = PhaseSpec(
        name="selftest",
        module="swarm.harness.selftest_child",
        trusted=False,
        walltime_limit_s=START_S,
        read=tuple(map(str, harness_folders())),
        write=tuple(map(str, (files.program, files.scratch, files.train_out))),
        gpu=True,
    )
    paths = (str(code_root()),)
    spec = TrialSpec("selftest", "selftest", str(folder), (phase,), env=dict(env), sandbox=sandbox, pythonpath=paths)
    running = launch(spec, None)
    while (result := running.poll()) is None:
        time.sleep(0.05)
    return result


@contextmanager
def _mps_daemon(control: str, device: DeviceReading) -> Iterator[dict[str, str]]:
    """The environment of its clients. It listens in a folder of its own, so that no other process becomes a client."""
    with tempfile.TemporaryDirectory(prefix="swarm-mps-") as folder:
        env = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        ours = {**os.environ, **env, "CUDA_VISIBLE_DEVICES": device.uuid}
        subprocess.run([control, "-d"], env=ours, check=True, timeout=SETTLE_S, capture_output=True)
        try:
            yield env
        finally:
            subprocess.run([control], input=b"quit\n", env=ours, check=False, timeout=SETTLE_S, capture_output=True)
