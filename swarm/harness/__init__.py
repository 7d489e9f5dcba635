"""What a `train.py` may use. Six names:

    data      data.train() -> TrainSet: labelled training images, resident on the device
    clock     clock.batches(...) yields training batches until the budget is spent; clock.progress in [0, 1]
    augment   flips, crops, cutout, mixup, cutmix: whole batches, on the device
    compiled  compiled(model): the model as a function, through torch.compile where there is a GPU
    device    the torch.device of this trial
    finish    finish(model): hands the trained weights in

All of them resolve on first use, so that the phases that only need numpy start without importing torch. Outside a
trial a program can still be imported and its model built: `device` is then the CPU, and the clock says what is missing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import device as _Device

    from swarm.harness import augment, data
    from swarm.harness.compiling import compiled
    from swarm.harness.handin import finish
    from swarm.harness.loop import BudgetClock

    clock: BudgetClock
    device: _Device

__all__ = ["augment", "clock", "compiled", "data", "device", "finish"]


def __getattr__(name: str) -> Any:
    if name in {"clock", "device"}:
        from swarm.harness import session

        trial = session.current_if_any()
        return getattr(trial if trial is not None else session.NoTrial, name)
    if name == "compiled":
        from swarm.harness.compiling import compiled

        return compiled
    if name == "finish":
        from swarm.harness.handin import finish

        return finish
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
