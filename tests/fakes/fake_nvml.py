"""A fake driver: the surface of `pynvml` that the probe uses, played from a JSONL trace.

The first line of a trace names the device and its `provenance` (real or synthetic); each further line is what the
driver says from `t` on: {t, total, free, reserved, used, procs: [{pid, mem|null}], err?, block_s?}, in bytes. The head
may have `init_s` (how long the first contact takes), `init_err` (what it ends with), `count` and `compute_mode`.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TRACES = Path(__file__).parent.parent / "traces"


class FakeNvml:
    """Time is set by the test: `at(t)`. A blocking call waits until `unblock` is called."""

    nvmlMemory_v2 = 0x2000028  # noqa: N815 (pynvml's name)

    class NVMLError(Exception):
        pass

    class NVMLError_GpuIsLost(NVMLError):  # noqa: N801
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801
        pass

    class NVMLError_FunctionNotFound(NVMLError):  # noqa: N801
        pass

    class NVMLError_NoPermission(NVMLError):  # noqa: N801
        pass

    class NVMLError_LibRmVersionMismatch(NVMLError):  # noqa: N801
        pass

    class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
        pass

    def __init__(self, trace: str, sleep: Callable[[float], None] = time.sleep) -> None:
        lines = (TRACES / f"{trace}.jsonl").read_text(encoding="utf-8").splitlines()
        self.head: dict[str, Any] = json.loads(lines[0])
        self._rows: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]
        self._row = self._rows[0]
        self._released = threading.Event()
        self.calls = 0
        self._sleep = sleep

    def at(self, t: float) -> None:
        self._row = max((row for row in self._rows if row["t"] <= t), key=lambda row: row["t"])

    def unblock(self) -> None:
        self._released.set()

    def nvmlInit(self) -> None:  # noqa: N802
        self._sleep(self.head.get("init_s", 0.0))
        if error := self.head.get("init_err"):
            raise getattr(self, f"NVMLError_{error}")(error)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return str(self.head["driver"])

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return int(self.head.get("count", 1))

    def nvmlDeviceGetComputeMode(self, handle: int) -> int:  # noqa: N802
        return int(self.head.get("compute_mode", 0))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:  # noqa: N802
        assert uuid.decode() == self.head["uuid"]
        self._misbehave()
        return 0

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return str(self.head["uuid"])

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802 (older bindings answer with bytes)
        return str(self.head["name"]).encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> SimpleNamespace:  # noqa: N802
        if version is not None and not self.head["memory_v2"]:
            raise self.NVMLError_FunctionNotFound
        row = self._row
        info = SimpleNamespace(total=row["total"], free=row["free"], used=row["used"])
        if version is not None:
            info.reserved = row["reserved"]
        return info

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=proc["pid"], usedGpuMemory=proc["mem"]) for proc in self._row["procs"]]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return []

    def _misbehave(self) -> None:
        self.calls += 1
        if self._row.get("block_s"):
            self._released.wait(self._row["block_s"])
        if self._row.get("err"):
            raise getattr(self, f"NVMLError_{self._row['err']}")
