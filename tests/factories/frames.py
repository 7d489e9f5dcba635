"""Frames of a study that never ran, for whatever draws one."""

from dataclasses import replace
from typing import Any

from swarm.watch.frame import Card, Counts, End, Frame, Gain, Happened, Mean, Slot, Spend, Waiting

NOW = 1_790_000_000.0
HOSTILE = "set [bold red]X[/] = 1 <img src=x onerror=alert(1)> & 'more' \"still\""


def mean(program: str, value: float, standing: str, *, runs: int = 1, description: str = "set MAX_LR = 0.02") -> Mean:
    half = 0.05 / runs**0.5
    return Mean(program, value, value - half, value + half, runs, standing, description)


def slot(agent_id: str = "worker_1", doing: str = "training", **fields: Any) -> Slot:
    values: dict[str, Any] = {
        "trial_id": "t0031", "progress": 0.63, "step": 840, "loss": 2.312, "silent_s": 0.4, "ends_in_s": 95.0,
        "restarts": 0, "description": "set WIDTH = 48 (was 40)",
    }  # fmt: skip
    return Slot(agent_id, doing, **(values | fields))


def frame(**fields: Any) -> Frame:
    """A running study with something of everything."""
    return replace(_FRAME, **fields)


_FRAME = Frame(
    schema_version=1,
    at=NOW,
    seq=204,
    study_id="tiny-20260921-201320-ab12",
    target="tiny",
    device="fake card",
    budget="300 s of work",
    data="standin",
    state="running",
    why="",
    began_at=NOW - 8000,
    last_record_at=NOW - 12,
    objective="validation loss",
    unit="nats",
    digits=4,
    maximized=False,
    grade="sealed",
    counts=Counts(32, 100, 26, 2, 2, 2, 3, 1),
    incumbent=mean("t0012", 2.1034, "leading", runs=3, description=HOSTILE),
    gain=Gain(0.0512, 0.0102, 0.0922),
    best=(
        mean("t0009", 2.1100, "kept", runs=5, description="set MOMENTUM = 0.95 (was 0.9)"),
        mean("t0012", 2.1034, "leading", runs=3, description=HOSTILE),
        mean("t0001", 2.1546, "baseline", runs=5, description="baseline, run 1 of 5"),
        mean("t0007", 2.2001, "discarded"),
    ),
    noise_sigma=0.0123,
    noise_degrees=8,
    trials_an_hour=12.34,
    end=End(NOW + 19000, "trials"),
    spend=Spend(0.42, 5.0, 81_000, None, 31),
    vetoed=("augmentation",),
    slots=(
        slot(),
        slot("worker_2", "waiting", trial_id="t0032", progress=None, step=None, loss=None, silent_s=None,
             ends_in_s=None, restarts=1, description="two more blocks in the last stage"),
    ),
    waiting=(
        Waiting("t0032", "worker_2", 5482, 34.0, "GPU 0 cannot hold 5482 MiB: 24564 total, 20000 leased by trial t0031 "
                "of worker_1, 1024 headroom", 140.0, elsewhere=False),
    ),
    cards=(Card("fake card", 24_564, 20_000, 300, 3_240, None),),
    trouble=None,
    events=(
        Happened(NOW - 300, "worker_2 t0030 validation loss 2.2204 top-1 41.2 % in 301 s"),
        Happened(NOW - 299, "  t0030 discarded: worse by 0.1170 nats (9.5 sigma) than t0012, P(better) 0.00: worse."),
        Happened(NOW - 12, "worker_2 t0032 begins: two more blocks in the last stage"),
    ),
)  # fmt: skip
