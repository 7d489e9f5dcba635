"""A granted reservation: the lock, the cap and the child's environment."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from swarm.admission.policy.events import Kill
from swarm.admission.policy.oom import Observed
from swarm.admission.policy.predict import Source
from swarm.admission.policy.request import Released, Request


class LeaseKeeper(Protocol):
    """What a lease asks of the controller that granted it."""

    def bind(self, lease: "Lease", supervisor_pid: int) -> None: ...
    def check(self, lease: "Lease") -> Kill | None: ...
    def launching(self, lease: "Lease", settle_s: float) -> AbstractContextManager[None]: ...
    def cotenants(self, lease: "Lease") -> set[str]: ...
    def release(self, lease: "Lease", observed: Observed | None) -> Released: ...


@dataclass
class Lease:
    """Pass `lock_fd` to the trial's supervisor: the lease then lives as long as the last process that has it.

    `device` is a UUID, never an index: NVML and CUDA may count differently. `cap_mib` is what the trial itself may
    allocate: the reservation without the CUDA context (which no allocator cap covers). `cap_fraction` is the same as a
    share of the device's total, for torch; None on a CPU.
    """

    lease_id: str
    request: Request
    device: str
    device_name: str
    reservation_mib: int
    alone: bool
    cap_mib: int
    cap_fraction: float | None
    lock_fd: int
    env: Mapping[str, str]
    granted_s: float
    predicted_mib: int
    source: Source
    _keeper: LeaseKeeper = field(repr=False)
    _released: Released | None = field(default=None, repr=False)

    def bind(self, supervisor_pid: int) -> None:
        """Name the process that runs the trial: its tree is measured, and its death frees the lease.

        Raises ProcessLookupError when it has already ended.
        """
        self._keeper.bind(self, supervisor_pid)

    def poll(self) -> Kill | None:
        """Heartbeat and runtime policy; call it every second or so while the trial runs.

        A Kill is to be obeyed (stop the trial, release with `over_reservation=True`); it never comes for a spike.
        """
        return self._keeper.check(self)

    @contextmanager
    def launching(self, settle_s: float = 15.0) -> Iterator[None]:
        """Start the trial inside: only one process of the machine initialises CUDA on this device at a time.

        Leaves when the new process shows up on the device, or after `settle_s`. A no-op on a CPU.
        """
        with self._keeper.launching(self, settle_s):
            yield

    def cotenants(self) -> set[str]:
        """The trials that hold a lease on the same device at this moment."""
        return self._keeper.cotenants(self)

    def leave_to_trial(self) -> None:
        """Let go of our own hold on the lock: the lease then ends with the trial's processes. Nothing is released."""
        os.close(self.lock_fd)

    def release(self, observed: Observed | None = None) -> Released:
        """Give the reservation back and learn from it. A second call answers as the first and changes nothing.

        Without `observed` nothing is learnt. The tree must be dead: memory in use after this counts as foreign.
        """
        if self._released is None:
            self._released = self._keeper.release(self, observed)
        return self._released


def child_env(uuid: str, fraction: float | None) -> dict[str, str]:
    """What makes a child see one device, by UUID, and keep to its cap. Older torch reads the second name only."""
    if fraction is None:
        return {"CUDA_VISIBLE_DEVICES": ""}
    options = [f"per_process_memory_fraction:{fraction:.6f}"]
    if "microsoft" not in platform.release().lower():  # not supported under WSL
        options.append("expandable_segments:True")
    value = ",".join(options)
    return {"CUDA_VISIBLE_DEVICES": uuid, "PYTORCH_ALLOC_CONF": value, "PYTORCH_CUDA_ALLOC_CONF": value}
