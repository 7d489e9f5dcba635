"""Why a card that is there cannot be used, and what to do about it: one table for what drivers and torch say.

Compiled from the documentation of NVML, CUDA and torch and from bug reports; not yet seen on a card here.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import AdmissionError

ON_THE_CPU = "--device cpu runs without it."
LEAST_DRIVER = {13: 580, 12: 525, 11: 450}
"""CUDA's major version to the first driver that runs it ("minor version compatibility", from CUDA's release notes)."""


class Unusable(AdmissionError):
    """A GPU is there and cannot be used. Never answered with the CPU unless a person asks for it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy} {ON_THE_CPU}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class TorchFacts:
    """What torch says in a process of its own. `built_for`: its CUDA version, None for a build without CUDA; `error`:
    the text with which the first allocation and kernel failed, empty when they worked."""

    torch: str
    built_for: str | None
    error: str = ""


_NVML: tuple[tuple[str, str, str], ...] = (
    (
        "LibRmVersionMismatch",
        "the driver's library and its kernel module are of different versions, as after an update",
        "Restart the machine, or reload the module.",
    ),
    (
        "DriverNotLoaded",
        "the driver's kernel module is not loaded",
        "Load it (`modprobe nvidia`), or install a driver.",
    ),
    (
        "LibraryNotFound",
        "the driver's library is not installed",
        "Install the driver; in a container, give it the GPU.",
    ),
    (
        "NoPermission",
        "this user may not ask the driver",
        "Add it to the group that owns /dev/nvidiactl, or start the container with the GPU.",
    ),
    ("GpuIsLost", "the card has fallen off the bus", "Restart the machine; see `dmesg` for Xid messages."),
    ("ResetRequired", "the card has to be reset", "Reset it (`nvidia-smi -r`), or restart the machine."),
    ("NoData", "the driver does not answer", "See `nvidia-smi` and `dmesg`; a card that hangs needs a restart."),
)
_TORCH: tuple[tuple[str, str, str], ...] = (
    (
        r"driver on your system is too old|CUDA driver version is insufficient|system has unsupported display driver",
        "the driver is too old for this torch",
        "Update the driver, or install a torch for an older CUDA.",
    ),
    (
        r"forward compatibility was attempted|Error 804",
        "CUDA's compatibility libraries are in use on a card that they do not support",
        "Remove the cuda-compat package and its folder from LD_LIBRARY_PATH, or update the driver.",
    ),
    (
        r"system not yet initialized|Error 802",
        "the fabric manager of these cards does not run",
        "Start nvidia-fabricmanager, of the driver's version.",
    ),
    (
        r"Error 304|OS call failed|operation not supported on this OS",
        "a call to the operating system was refused while CUDA started",
        "See below which rung of the sandbox it was; `dmesg` has more.",
    ),
    (
        r"busy or unavailable|devices? (?:is|are) in use|Error 46",
        "the card takes no further process: it is in a compute mode that admits one or none, or hangs",
        "Set the default mode (`nvidia-smi -c 0`), and end who holds the card.",
    ),
    (
        r"no kernel image is available|is not compatible with the current PyTorch",
        "this torch has no code for a card of this generation",
        "Install a torch for it.",
    ),
    (
        r"out of memory",
        "the card has no memory left for one allocation",
        "End who holds it (`nvidia-smi`).",
    ),
    (r"uncorrectable ECC", "the card's memory is faulty", "Reset it (`nvidia-smi -r`) or have it exchanged."),
    (
        r"CUDA unknown error|Error 999|incorrectly set up environment",
        "CUDA does not start, as after a suspend, or where the module nvidia-uvm is missing",
        "Load it (`modprobe nvidia-uvm`), or restart the machine.",
    ),
    (
        r"No CUDA GPUs are available|no CUDA-capable device|Error 100",
        "torch sees no card although the driver has one",
        "See CUDA_VISIBLE_DEVICES and the rights on /dev/nvidia*.",
    ),
)
COMPUTE_MODES = {1: "exclusive", 2: "prohibited", 3: "exclusive to one process"}


def no_answer(error: str, text: str) -> Unusable:
    """For an error of NVML on a machine with a card; `error` is its class."""
    for name, reason, remedy in _NVML:
        if error.endswith(name):
            return Unusable(f"there is an NVIDIA card, and {reason} ({text}).", remedy)
    return Unusable(f"there is an NVIDIA card, and its driver does not answer: {text}.", "See `nvidia-smi`.")


def why_unusable(found: TorchFacts, driver: str) -> Unusable | None:
    """What stands between torch and the card; None when its first kernel has run. `driver`: version, as NVML says."""
    if found.built_for is None:
        return Unusable(
            f"there is an NVIDIA card, and torch {found.torch} is built without CUDA.",
            'Install a build with CUDA (docs/how-to/share-one-gpu.md, "A card that cannot be used").',
        )
    if not found.error:
        return None
    least = LEAST_DRIVER.get(_major(found.built_for))
    if least is not None and 0 < _major(driver) < least:
        return Unusable(
            f"torch {found.torch} is built for CUDA {found.built_for}, which needs driver {least} or later; this is "
            f"{driver}.",
            f"Update the driver, or install a torch that is built for an older CUDA ({_fitting(_major(driver))}).",
        )
    said = found.error.strip().splitlines()[0][:300]
    for pattern, reason, remedy in _TORCH:
        if re.search(pattern, found.error, re.IGNORECASE):
            return Unusable(f"{reason} ({said}; torch {found.torch}, driver {driver}).", remedy)
    return Unusable(f"torch {found.torch} cannot use the card: {said} (driver {driver}).", "See `swarm doctor`.")


def signs_of_a_card(root: Path = Path("/")) -> str:
    """What says that an NVIDIA card is in this machine, whatever its driver does; empty where nothing does."""
    for path in ("dev/nvidia0", "dev/nvidiactl", "dev/dxg", "proc/driver/nvidia/version"):
        if (root / path).exists():
            return f"/{path}"
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        if _text(folder / "vendor") == "0x10de" and _text(folder / "class").startswith("0x03"):
            return f"/{folder.relative_to(root)}"
    return ""


def _fitting(driver: int) -> str:
    fitting = [major for major, least in LEAST_DRIVER.items() if driver >= least]
    return f"CUDA {max(fitting)}" if fitting else "none is old enough for this driver"


def _major(version: str) -> int:
    head = version.split(".", maxsplit=1)[0]
    return int(head) if head.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
