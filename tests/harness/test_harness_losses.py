"""Reported losses: copied at once, read without a wait, and judged in order all the same."""

import math
import warnings

import pytest
import torch
from torch import Tensor

from swarm.harness.errors import Diverged
from swarm.harness.losses import DIVERGED_AFTER_STEPS, GROUP_STEPS, MOST_GROUPS, Losses


class Slow:
    """Numbers that arrive when the test says so; asking for them before that is a wait."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.tolist()
        self.arrived = self.waited = False

    def here(self) -> bool:
        return self.arrived

    def values(self) -> list[float]:
        self.waited = not self.arrived
        return self._values


class Device:
    def __init__(self) -> None:
        self.sent: list[Slow] = []

    def send(self, values: Tensor) -> Slow:
        self.sent.append(Slow(values))
        return self.sent[-1]


def slow_losses(limit: float = math.inf) -> tuple[Losses, Device]:
    device = Device()
    return Losses(limit, group=GROUP_STEPS, send=device.send), device


def test_a_loss_in_a_static_buffer_keeps_its_value() -> None:
    """What a CUDA graph returns is the same memory in each step."""
    losses, device = slow_losses()
    static = torch.zeros(())
    for step in range(GROUP_STEPS):
        static.fill_(float(step))
        losses.add(step / 100, static)
    device.sent[0].arrived = True
    losses.flush()
    assert [round(loss) for _, loss in losses.curve] == [round(2 * bucket + 0.4) for bucket in range(10)]
    assert losses.last == pytest.approx((GROUP_STEPS - 1) / 2)


def test_nobody_waits_for_the_device_until_three_groups_are_on_their_way() -> None:
    losses, device = slow_losses()
    for step in range(MOST_GROUPS * GROUP_STEPS):
        losses.add(step / 1000, torch.tensor(1.0))
    assert len(device.sent) == MOST_GROUPS and not any(group.waited for group in device.sent)
    assert math.isnan(losses.last)
    for _ in range(GROUP_STEPS):
        losses.add(0.9, torch.tensor(1.0))
    assert [group.waited for group in device.sent] == [True, False, False, False]
    for group in device.sent:
        group.arrived = True
    losses.add(0.95, torch.tensor(1.0))
    assert losses.last == 1.0 and not any(group.waited for group in device.sent[1:])


def test_late_losses_are_judged_in_order() -> None:
    losses, device = slow_losses(limit=2.0)
    for _ in range(GROUP_STEPS):
        losses.add(0.1, torch.tensor(3.0))
    device.sent[0].arrived = True
    with pytest.raises(Diverged, match=f"3.000 over {DIVERGED_AFTER_STEPS} steps"):
        losses.add(0.2, torch.tensor(1.0))


def test_the_end_reads_what_is_left() -> None:
    losses, _ = slow_losses()
    losses.add(0.5, torch.tensor(math.nan))
    with pytest.raises(Diverged, match="nan"):
        losses.flush()


@pytest.mark.gpu
def test_a_step_reports_without_a_synchronisation() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device: that no step waits for it is not verified")
    losses = Losses.on(torch.device("cuda"))
    loss = torch.ones((), device="cuda")
    losses.add(0.0, loss)
    try:
        with warnings.catch_warnings(action="ignore"):  # it says once that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        for step in range(100):
            losses.add(step / 100, loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    losses.flush()
    assert losses.last == 1.0
