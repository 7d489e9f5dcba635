"""What a sandboxed process may touch, and what was reached when it was applied."""

import os
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["auto", "strict", "none"]
Network = Literal["denied", "tcp_denied", "open"]

# Files that the C library, Python and torch open on their own. Nothing here names a user, a key or another process.
_SYSTEM_READ = (
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu", "/sys/devices/system/node",
)  # fmt: skip
_SYSTEM_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# The CUDA driver walks these; the nodes themselves are devices (see `gpu_devices`). What it opens where, and who has
# seen it: tests/data/cuda/.
_GPU_READ = (
    "/proc/driver/nvidia", "/proc/driver/nvidia-uvm", "/proc/driver/nvidia-caps", "/proc/driver/nvidia-nvlink",
    "/proc/devices", "/proc/modules", "/proc/version", "/proc/sys/kernel",
    "/proc/sys/vm/mmap_min_addr", "/proc/sys/vm/max_map_count",
    "/sys/bus", "/sys/class", "/sys/devices", "/sys/module", "/sys/kernel/mm",
    "/etc/OpenCL", "/usr/local/nvidia", "/usr/local/cuda",
)  # fmt: skip
_DRIVER_LIBRARY = "libcuda.so*"


@dataclass(frozen=True)
class SandboxPolicy:
    """Paths that stay usable; everything else on the file system is closed. Absent paths are skipped.

    `read` and `write` are files or whole folders (write includes read, creating and deleting, but neither symbolic
    links nor pipes nor device nodes); `devices` are opened for reading, writing and ioctl. `own`: paths of the trial
    that its user is made the owner of, where it gets one. `temporary`: a folder that gets a short name in a
    root of one's own. `gpu`: CUDA runs here, and may name its threads. `processes`: children may be started.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    temporary: str | None = None
    gpu: bool = False
    processes: bool = True


@dataclass(frozen=True)
class SandboxReport:
    """What really holds for a process. `network`: `denied` = no socket but pairs, `tcp_denied` = UDP is open."""

    level: str
    landlock_abi: int = 0
    seccomp: bool = False
    namespaces: bool = False
    other_user: bool = False
    network: Network = "open"
    detail: str = field(default="", compare=False)

    @property
    def strength(self) -> int:
        """How many rungs of the ladder hold."""
        return 0 if self.level == "none" else self.level.count("+") + 1


def level_of(*, namespaces: bool, other_user: bool, landlock: bool, seccomp: bool) -> str:
    """The rungs of the ladder that hold, such as `namespaces+user+landlock+seccomp`; `none` without any."""
    rungs = {"namespaces": namespaces, "user": other_user, "landlock": landlock, "seccomp": seccomp}
    return "+".join(name for name, holds in rungs.items() if holds) or "none"


def candidate_policy(
    read: tuple[str, ...],
    write: tuple[str, ...],
    *,
    own: tuple[str, ...] = (),
    temporary: str | None = None,
    gpu: bool,
    processes: bool = True,
) -> SandboxPolicy:
    """The policy of an untrusted phase: its own paths, plus what this interpreter needs to run torch at all.

    The machine's /dev/shm is closed: it outlives a trial, and weights left there would warm-start the next one. A root
    of one's own has one of its own.
    """
    return SandboxPolicy(
        read=(*read, *_SYSTEM_READ, *_interpreter_paths(), *((*_GPU_READ, *driver_folders()) if gpu else ())),
        write=write,
        devices=(*_SYSTEM_DEVICES, *(gpu_devices() if gpu else ())),
        own=own,
        temporary=temporary,
        gpu=gpu,
        processes=processes,
    )


def gpu_devices(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Device nodes of NVIDIA's driver on this machine; WSL's `/dev/dxg` counts as one."""
    nodes = [*sorted(dev.glob("nvidia*")), dev / "dxg", dev / "dri"]
    return tuple(str(node) for node in nodes if node.exists())


def driver_folders() -> tuple[str, ...]:
    """Folders of LD_LIBRARY_PATH that hold the driver's library: where rented machines have it outside of /usr."""
    named = (Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry)
    return tuple(str(folder) for folder in named if folder.is_absolute() and any(folder.glob(_DRIVER_LIBRARY)))


def _interpreter_paths() -> tuple[str, ...]:
    """The running interpreter with its library and installed packages; not its user site, which -s switches off."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    executable = str(Path(sys.executable).resolve())
    found = {path for path in (*installed, *prefixes, executable) if path and path != "/"}
    return tuple(sorted(found))
