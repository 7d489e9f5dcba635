"""NVML through nvidia-ml-py: by UUID, with every call in a thread that may hang without taking us along."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from swarm.gpu.host import MIB
from swarm.gpu.reading import Attribution, DeviceKind, DeviceReading, NoDevice, ProcessUse
from swarm.gpu.unusable import COMPUTE_MODES, Unusable, no_answer, signs_of_a_card
from swarm.gpu.visible import visible

CALL_TIMEOUT_S = 3.0
FIRST_TIMEOUT_S = 30.0
"""For the first contact: a driver that nobody uses wakes its cards first, which takes seconds each."""
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO: the same on every Linux

T = TypeVar("T")


class NoData(Exception):
    """The driver did not answer in time, or answered with an error. Never leaves this module."""


class NvmlProbe:
    """Reads all NVIDIA devices that CUDA_VISIBLE_DEVICES leaves, in its order.

    Raises on construction NoDevice when there is no card, and Unusable when there is one and the driver does not
    answer, or the variable hides it. Later failures do not raise: the device is reported lost until it answers again,
    and nothing is admitted to it meanwhile.
    """

    def __init__(
        self,
        nvml: ModuleType | Any = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        first_timeout_s: float = FIRST_TIMEOUT_S,
        host_pids: bool | None = None,
        environment: Mapping[str, str] | None = None,
        signs: Callable[[], str] = signs_of_a_card,
    ) -> None:
        """`nvml` speaks the surface of `pynvml`; default is the real one. `host_pids`: this process sees the pids that
        the driver reports (not in a pid namespace); default is to look. `environment`: default is this process's.
        `signs`: what says that there is a card, whatever the driver answers."""
        self._nvml = nvml if nvml is not None else _import_pynvml()
        self._caller = _Caller(timeout_s)
        self._sees_host_pids = _in_initial_pid_namespace() if host_pids is None else host_pids
        self._environment = os.environ if environment is None else environment
        first = _Caller(first_timeout_s)
        try:
            first.call(self._nvml.nvmlInit)
            self._known = first.call(self._enumerate)
        except (NoData, self._nvml.NVMLError) as error:
            if sign := signs():
                raise no_answer(type(error).__name__, f"{error or type(error).__name__}; {sign} is there") from error
            raise NoDevice(f"there is no NVIDIA card, and no driver answers: {error}. Use --device cpu.") from error
        if not self._known:
            if sign := signs():
                raise Unusable(
                    f"the NVIDIA driver reports no card, and {sign} is there.", "See `nvidia-smi` and `dmesg`."
                )
            raise NoDevice("the NVIDIA driver reports no card. Use --device cpu.")

    @property
    def kind(self) -> DeviceKind:
        return "cuda"

    @property
    def name(self) -> str:
        return self._known[0].name

    def driver_version(self) -> str:
        try:
            return _text(self._caller.call(self._nvml.nvmlSystemGetDriverVersion))
        except (NoData, self._nvml.NVMLError) as error:
            return f"unknown ({error})"

    def compute_mode(self, uuid: str) -> str:
        """In words, where the card does not take any number of processes; empty where it does or does not say."""
        nvml = self._nvml
        try:
            mode = self._caller.call(
                lambda: nvml.nvmlDeviceGetComputeMode(nvml.nvmlDeviceGetHandleByUUID(uuid.encode()))
            )
        except (NoData, nvml.NVMLError, AttributeError):
            return ""
        return COMPUTE_MODES.get(int(mode), "")

    def divided_by_mig(self) -> tuple[str, ...]:
        """Names of the cards that are. One that does not know the mode, or does not answer, is not."""
        return tuple(f"{known.name} ({known.uuid})" for known in self._known if self._is_divided(known.uuid))

    def _is_divided(self, uuid: str) -> bool:
        nvml = self._nvml
        try:
            current, _ = self._caller.call(
                lambda: nvml.nvmlDeviceGetMigMode(nvml.nvmlDeviceGetHandleByUUID(uuid.encode()))
            )
        except (NoData, nvml.NVMLError, AttributeError):
            return False
        return bool(current)

    def offers_memory_limits(self) -> bool:
        """Whether the binding knows limits of a card's memory by cgroup; not whether the driver does."""
        return hasattr(self._nvml, "nvmlDeviceSetMemoryLimits_v1")

    def read(self) -> tuple[DeviceReading, ...]:
        return tuple(self._read_one(known) for known in self._known)

    def _enumerate(self) -> tuple[DeviceReading, ...]:
        """A card that is lost already is left out where another one answers."""
        nvml = self._nvml
        cards: list[tuple[str, str]] = []
        found: list[DeviceReading] = []
        lost: Exception | None = None
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                cards.append((_text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))))
            except nvml.NVMLError_GpuIsLost as error:
                lost = error
        names = dict(cards)
        for uuid in visible(cards, self._environment):
            try:
                found.append(self._measure(uuid, names[uuid]))
            except nvml.NVMLError_GpuIsLost as error:
                lost = error
        if lost is not None and not found:
            raise lost
        return tuple(found)

    def _read_one(self, known: DeviceReading) -> DeviceReading:
        try:
            return self._caller.call(lambda: self._measure(known.uuid, known.name))
        except (NoData, self._nvml.NVMLError) as error:
            return replace(
                known,
                free_mib=0,
                attribution=Attribution.UNAVAILABLE,
                processes=(),
                lost=True,
                fault=f"{type(error).__name__}: {error}",
            )

    def _measure(self, uuid: str, name: str) -> DeviceReading:
        # Asked for by UUID each time: a handle does not survive a driver reload, and an index is not an identity.
        handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        memory = self._memory(handle)
        attribution, processes = self._processes(handle)
        return DeviceReading(
            uuid=uuid,
            name=name,
            total_mib=memory.total // MIB,
            free_mib=memory.free // MIB,
            reserved_mib=getattr(memory, "reserved", 0) // MIB,
            attribution=attribution,
            processes=processes,
        )

    def _memory(self, handle: Any) -> Any:
        nvml = self._nvml
        try:
            return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        except (nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NotSupported, AttributeError):
            return nvml.nvmlDeviceGetMemoryInfo(handle)

    def _processes(self, handle: Any) -> tuple[Attribution, tuple[ProcessUse, ...]]:
        nvml = self._nvml
        try:
            listed = list(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
            listed += nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
            return Attribution.UNAVAILABLE, ()
        used = {p.pid: None if p.usedGpuMemory is None else p.usedGpuMemory // MIB for p in listed}
        processes = tuple(ProcessUse(pid, mib) for pid, mib in sorted(used.items()))
        return self._attribution(processes), processes

    def _attribution(self, processes: tuple[ProcessUse, ...]) -> Attribution:
        if any(process.used_mib is None for process in processes):
            return Attribution.UNAVAILABLE
        if self._sees_host_pids:
            return Attribution.MATCHED
        # In a container an empty list says nothing, and a listed pid is the host's until the launch gate proves more.
        return Attribution.UNMATCHED if processes else Attribution.UNAVAILABLE


class _Caller:
    """Runs one call at a time in a daemon thread.

    A call that hangs stays where it is; until it comes back, further calls fail at once instead of piling up threads.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._busy = threading.Lock()

    def call(self, function: Callable[[], T]) -> T:
        if not self._busy.acquire(blocking=False):
            raise NoData("an earlier NVML call has not come back")
        answer: list[T] = []
        failure: list[BaseException] = []
        done = threading.Event()

        def body() -> None:
            try:
                answer.append(function())
            except BaseException as error:  # noqa: BLE001 (handed to the caller below, whatever it is)
                failure.append(error)
            finally:
                self._busy.release()
                done.set()

        threading.Thread(target=body, name="nvml", daemon=True).start()
        if not done.wait(self._timeout_s):
            raise NoData(f"no answer from NVML within {self._timeout_s:g} s")
        if failure:
            raise failure[0]
        return answer[0]


def _import_pynvml() -> ModuleType:
    try:
        import pynvml
    except ImportError as error:
        raise NoDevice("nvidia-ml-py is not installed. Run `pip install nvidia-ml-py`, or use --device cpu.") from error
    module: ModuleType = pynvml
    return module


def _in_initial_pid_namespace() -> bool:
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _INITIAL_PID_NAMESPACE
    except OSError:
        return False


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
