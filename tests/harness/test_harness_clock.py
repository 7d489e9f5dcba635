"""The budget clock: what it charges, what schedules see, what it repeats, when it gives up."""

import math
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import augment
from swarm.harness.budget import Meter, SampleMeter, TimeMeter, free_setup_s
from swarm.harness.errors import ContractBroken, Diverged
from swarm.harness.layout import TrainSet
from swarm.harness.loop import BudgetClock
from swarm.harness.warmup import WARM_UP_STEPS, seed_everything
from swarm.trial.config import WorkBudget
from swarm.trial.heartbeat import Heartbeat, read_beat

ROWS = 100


class SteppedTime:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class RungFolder:
    def __init__(self, folder: Path, fractions: Sequence[float]) -> None:
        self.fractions, self._folder = fractions, folder

    def inputs(self) -> Tensor:
        return torch.zeros(20, 3, 32, 32, dtype=torch.uint8)

    def path(self, fraction: float) -> Path:
        return self._folder / f"rung_{round(100 * fraction)}.npy"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def train() -> TrainSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (ROWS, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return TrainSet(images, torch.arange(ROWS) % 10, classes=10)


def make(tmp_path: Path, budget: WorkBudget, meter: Meter, rungs: Sequence[float] = ()) -> BudgetClock:
    seed_everything(1)
    return BudgetClock(budget, meter, Heartbeat(tmp_path / "heartbeat"), RungFolder(tmp_path, rungs), seed=1)


def test_samples_budget_ends_with_the_batch_that_reaches_it(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 250), SampleMeter())
    progress = [clock.progress for _ in clock.batches(train, 30)]
    assert progress == pytest.approx([30 * step / 250 for step in range(9)])
    assert (clock.progress, clock.step, clock.samples, clock.epoch) == (1.0, 9, 270, 2)


def test_time_budget_charges_what_its_clock_says(tmp_path: Path, train: TrainSet) -> None:
    time = SteppedTime()
    clock = make(tmp_path, WorkBudget("seconds", 10), TimeMeter(time, 10))
    seen = []
    for _ in clock.batches(train, 10):
        seen.append(clock.progress)
        time.now += 3
    assert seen == pytest.approx([0.0, 0.3, 0.6, 0.9])
    assert clock.progress == 1.0
    assert clock.used == pytest.approx(12)


def test_setup_is_free_up_to_its_limit_and_charged_above() -> None:
    assert [free_setup_s(budget, cpu=False) for budget in (1, 100, 300)] == [10.0, 25.0, 60.0]
    assert [free_setup_s(budget, cpu=True) for budget in (1, 25, 300)] == [0.26, 0.5, 3.25]
    for setup_s, used in ((4.0, 0.0), (5.0, 0.0), (9.0, 4.0)):
        time = SteppedTime()
        meter = TimeMeter(time, free_setup_s=5.0)
        time.now += 3.0  # what the harness needs is not charged
        meter.begin()
        time.now += setup_s
        meter.start()
        assert meter.used == pytest.approx(used)


def trained(tmp_path: Path, train: TrainSet, *, warm: bool) -> tuple[int, dict[str, Tensor]]:
    """Steps that the loop body saw, and the weights after 100 images."""
    clock = make(tmp_path, WorkBudget("samples", 100), SampleMeter())
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    seed_everything(1)
    steps = 0
    for images, labels in clock.batches(train, 20, augment.flip, state=(model, optimizer) if warm else ()):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        steps += 1
    return steps, model.state_dict()


def test_warm_up_leaves_no_trace(tmp_path: Path, train: TrainSet) -> None:
    (cold_steps, cold), (warm_steps, warm) = (trained(tmp_path, train, warm=warm) for warm in (False, True))
    assert (cold_steps, warm_steps) == (5, 5 + WARM_UP_STEPS["cpu"])
    assert cold["1.num_batches_tracked"] == 5
    assert all(torch.equal(cold[name], warm[name]) for name in cold)


def test_an_augmentation_sees_the_rows_of_its_own_batch(tmp_path: Path, train: TrainSet) -> None:
    """In the warm-up too: `alternating_flip` needs them."""
    clock = make(tmp_path, WorkBudget("samples", 60), SampleMeter())
    calls = 0

    def augmentation(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        assert torch.equal(images, train.images[clock.indices])
        return augment.alternating_flip(images, clock.indices, clock.epoch)

    for _ in clock.batches(train, 20, augmentation, state=(nn.Linear(1, 1),)):
        pass
    assert calls == WARM_UP_STEPS["cpu"] + 3


class Signatures(SampleMeter):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Hashable] = []

    def before_step(self, signature: Hashable) -> None:
        self.seen.append(signature)


def test_a_signature_is_the_shape_of_the_batch_and_what_trains(tmp_path: Path, train: TrainSet) -> None:
    """A new shape is known from its second step on: loading it is part of the first."""
    meter = Signatures()
    clock = make(tmp_path, WorkBudget("samples", 80), meter)
    model = nn.Linear(1, 1)

    def small_at_first(images: Tensor) -> Tensor:
        return images[..., ::2, ::2] if clock.step < 3 else images

    for _ in clock.batches(train, 10, small_at_first, state=(model,)):
        if clock.step == 5:
            model.bias.requires_grad_(False)
    assert [clock.step, len(set(meter.seen))] == [8, 3]
    first, second, third = dict.fromkeys(meter.seen)
    assert meter.seen == [first] * 4 + [second] * 2 + [third] * 2
    assert (first[0], second[0], third[0]) == ((10, 3, 16, 16), (10, 3, 32, 32), (10, 3, 32, 32))


@pytest.mark.parametrize(("when", "seen"), [("before", True), ("during", True), ("never", False)])
def test_a_program_that_seeds_torch_itself_is_seen(tmp_path: Path, train: TrainSet, when: str, seen: bool) -> None:
    clock = make(tmp_path, WorkBudget("samples", 40), SampleMeter())
    torch.Generator().manual_seed(7)  # a generator of its own is its own affair
    if when == "before":
        torch.manual_seed(7)
    for _ in clock.batches(train, 10, state=(nn.Linear(1, 1),)):
        if when == "during":
            torch.manual_seed(7)
    assert clock.own_seed is seen


def test_batches_are_whole_shuffled_epochs(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 2 * ROWS), SampleMeter())
    rows = [(clock.epoch, clock.indices.tolist()) for _ in clock.batches(train, 25)]
    epochs = [[row for epoch, indices in rows if epoch == number for row in indices] for number in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(ROWS))
    assert epochs[0] != epochs[1]


def test_images_are_normalised_and_belong_to_their_labels(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 50), SampleMeter())
    for images, labels in clock.batches(train, 50):
        assert images.shape == (50, 3, 32, 32)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, train.images[clock.indices].float() / 64 - 2)
        assert torch.equal(labels, train.labels[clock.indices])


class SlowAndRandom(nn.Module):
    """A model that draws random numbers and takes half a second, even in evaluation."""

    def __init__(self, time: SteppedTime) -> None:
        super().__init__()
        self._time = time

    def forward(self, images: Tensor) -> Tensor:
        self._time.now += 0.5
        return torch.rand(len(images), 10)


def test_rungs_write_logits_once_without_touching_the_training(tmp_path: Path, train: TrainSet) -> None:
    time = SteppedTime()
    clock = make(tmp_path, WorkBudget("seconds", 8), TimeMeter(time, 8), rungs=(0.5, 0.25))
    model = SlowAndRandom(time)
    present, draws = [], []
    for _ in clock.batches(train, 10, state=(model,)):
        time.now += 1
        present.append(sorted(path.name for path in tmp_path.glob("rung_*.npy")))
        draws.append(torch.rand(()).item())
    one, both = ["rung_25.npy"], ["rung_25.npy", "rung_50.npy"]
    assert present[WARM_UP_STEPS["cpu"] :] == [[], [], one, one, both, both, both, both]
    logits = np.load(tmp_path / "rung_50.npy")
    assert (logits.shape, logits.dtype) == ((20, 10), np.float16)
    assert model.training
    torch.manual_seed(1)
    assert draws[WARM_UP_STEPS["cpu"] :] == [torch.rand(()).item() for _ in range(8)]


def test_a_slow_rung_is_charged_above_what_is_free_and_the_clock_goes_on() -> None:
    """A model whose evaluation is slow must neither stop the clock nor train for nothing meanwhile."""
    for evaluation_s, charged in ((0.4, 0.0), (1.0, 0.0), (7.0, 6.0)):
        time = SteppedTime()
        meter = TimeMeter(time, free_setup_s=5.0)
        meter.start()
        time.now += 2
        meter.pause()
        time.now += evaluation_s
        meter.resume(free_s=1.0)
        time.now += 3
        assert meter.used == pytest.approx(5 + charged)


def test_heartbeat_tells_step_progress_and_loss(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 40), SampleMeter())
    assert (tmp_path / "heartbeat").stat().st_size == 40
    for _ in clock.batches(train, 10):
        clock.report(torch.tensor(1.5))
    beat = read_beat(tmp_path / "heartbeat")
    assert beat is not None
    assert (beat.step, beat.progress, beat.loss, beat.used) == (4, 1.0, 1.5, 40.0)


def test_curve_is_the_mean_loss_by_progress(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 1000), SampleMeter())
    for _ in clock.batches(train, 10):
        clock.report(torch.tensor(1.0 - clock.progress))
    assert len(clock.curve) == 50
    assert [loss for _, loss in clock.curve] == sorted((loss for _, loss in clock.curve), reverse=True)
    assert clock.curve[-1][0] == pytest.approx(0.99)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_not_finite_ends_the_training_at_once(tmp_path: Path, train: TrainSet, loss: float) -> None:
    clock = make(tmp_path, WorkBudget("samples", 1000), SampleMeter())
    batches = clock.batches(train, 10)
    next(batches)
    with pytest.raises(Diverged, match=str(loss)):
        clock.report(torch.tensor(loss))


def test_loss_far_above_guessing_ends_the_training(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 1000), SampleMeter())
    with pytest.raises(Diverged, match=r"limit 6\.908"):
        for _ in clock.batches(train, 10):
            clock.report(torch.tensor(7.0))
    assert clock.step == 19
    patient = make(tmp_path, WorkBudget("samples", 1000), SampleMeter())
    for _ in patient.batches(train, 10):
        patient.report(torch.tensor(6.8))
    assert patient.step == 100


def test_one_training_has_one_budget(tmp_path: Path, train: TrainSet) -> None:
    clock = make(tmp_path, WorkBudget("samples", 10), SampleMeter())
    list(clock.batches(train, 10))
    with pytest.raises(ContractBroken, match="twice"):
        next(clock.batches(train, 10))
    with pytest.raises(ContractBroken, match=r"outside 1\.\.100"):
        next(make(tmp_path, WorkBudget("samples", 10), SampleMeter()).batches(train, ROWS + 1))
