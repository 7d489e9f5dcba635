"""`swarm calibrate`: the noise floor of a target on this machine, and whether two trials should share its device.

The unchanged program is run a few times alone and then two at a time, as trials like any other, in a study of its own
whose brain lies beside the caches. The result is kept per device, torch and target; `--gpu-mode auto` reads it.

    gain = images per wall second of a pair, both together / of one alone

Sharing pays when the pair gets clearly more done than one alone: below `SHARING_PAYS` the start-up and the thinking of
one worker can hide behind the training of the other all the same, so exclusive turns lose nothing.
"""

import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm import verdict
from swarm.clock import Clock
from swarm.errors import SwarmError
from swarm.orchestrator.opening import open_study
from swarm.orchestrator.orchestrator import Orchestrator
from swarm.study.options import UpOptions
from swarm.study.settings import GpuMode, RunSettings
from swarm.study.state import StudyState, Trial

SHARING_PAYS = 1.15
SOLO_RUNS = 5
PAIRED_RUNS = 4
PAIRED_SHARE = 0.9  # of a run's wall time beside another; less says nothing about either


class Calibration(BaseModel):
    """Measured on one device, for one target and budget. Losses in nats, rates in training images per wall second."""

    model_config = ConfigDict(frozen=True)

    device: str
    torch: str | None
    target: str
    budget: str
    data: str
    at: float
    runs: int
    mean_loss: float
    sigma: float
    solo_images_per_s: float
    paired_images_per_s: float

    @property
    def gain(self) -> float:
        return self.paired_images_per_s / self.solo_images_per_s

    @property
    def recommendation(self) -> GpuMode:
        return "shared" if self.gain >= SHARING_PAYS else "exclusive"

    def keep(self) -> None:
        """Where `recommended` finds it, as long as torch is the same."""
        path = _path(self.device, self.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        draft.replace(path)

    @property
    def text(self) -> str:
        return (
            f"{self.target} on {self.device} (torch {self.torch}), {self.budget} a trial, {self.data} data\n"
            f"noise floor   {self.sigma:.4f} nats between seeds, mean loss {self.mean_loss:.4f}, n={self.runs}\n"
            f"one alone     {self.solo_images_per_s:.0f} images/s\n"
            f"two together  {self.paired_images_per_s:.0f} images/s, {self.gain:.2f} times one alone\n"
            f"advice        --gpu-mode {self.recommendation} (sharing pays from {SHARING_PAYS:g} on)"
        )


def calibrate(options: UpOptions, cwd: Path, clock: Clock, say: Callable[[str], None]) -> Calibration:
    """Runs the trials and keeps the result. Raises SwarmError when fewer than three of either kind succeed."""
    brain = store() / "calibration.jsonl"
    brain.parent.mkdir(parents=True, exist_ok=True)
    solo_options = replace(options, workers=1, trials=SOLO_RUNS, brain=brain, gpu_mode="shared", early_stop=False)
    opened = open_study(solo_options, cwd, clock, say, noise_replicates=SOLO_RUNS + PAIRED_RUNS)
    say(f"Calibrating {opened.settings.target}: {SOLO_RUNS} runs alone, then {PAIRED_RUNS} two at a time.")
    Orchestrator(opened.settings, opened.brain, opened.repo, clock).run(lambda: None)
    pair_options = replace(solo_options, workers=2, trials=SOLO_RUNS + PAIRED_RUNS, resume=True)
    paired = open_study(pair_options, cwd, clock, say)
    Orchestrator(paired.settings, paired.brain, paired.repo, clock).run(lambda: None)
    study = paired.brain.snapshot().study(opened.settings.study_id)
    assert study is not None
    result = evaluate(study, opened.settings, clock.now())
    result.keep()
    return result


def evaluate(study: StudyState, settings: RunSettings, now: float) -> Calibration:
    """The figures of a calibration study: its first trials ran alone, the others in pairs. One that was in company for
    a part of its time only counts for the noise, and for neither rate."""
    complete = [trial for trial in study.trials.values() if trial.cost is not None]
    alone = [trial for trial in complete if not _tenants(trial)]
    together = [trial for trial in complete if _share_in_company(trial) >= PAIRED_SHARE]
    if len(alone) < 3 or len(together) < 2:
        raise SwarmError(
            f"{len(alone)} runs alone and {len(together)} in company for {PAIRED_SHARE:.0%} of their time succeeded; "
            f"at least 3 and 2 are needed. "
            f"See: swarm log --brain {settings.brain}"
        )
    sigma = verdict.noise_floor([[trial.cost for trial in complete if trial.cost is not None]])
    assert sigma is not None
    first = complete[0].finished
    assert first is not None and first.resources is not None
    return Calibration(
        device=study.opened.device_name,
        torch=first.resources.torch,
        target=settings.target,
        budget=f"{settings.budget.amount:g} {settings.budget.kind}",
        data=settings.dataset,
        at=now,
        runs=len(complete),
        mean_loss=fmean(trial.cost for trial in complete if trial.cost is not None),
        sigma=sigma,
        solo_images_per_s=fmean(_rates(alone)),
        paired_images_per_s=2 * fmean(_rates(together)),
    )


def recommended(device: str, target: str) -> GpuMode:
    """What an earlier calibration with this torch advises here; shared when there was none. Raises SwarmError."""
    path = _path(device, target)
    try:
        return Calibration.model_validate_json(path.read_bytes()).recommendation
    except OSError:
        return "shared"
    except ValidationError as error:
        raise SwarmError(f"{path} is no calibration ({error.errors()[0]['msg']}): run swarm calibrate again.") from None


def store() -> Path:
    """Beside the data cache: `$SWARM_CACHE/calibration`, or below ~/.cache/swarm."""
    return Path(os.environ.get("SWARM_CACHE") or Path.home() / ".cache" / "swarm") / "calibration"


def installed_torch() -> str:
    """Its version, without importing it."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _path(device: str, target: str) -> Path:
    key = f"{device}/{installed_torch()}/{target}"
    return store() / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _tenants(trial: Trial) -> tuple[str, ...]:
    resources = trial.finished.resources if trial.finished else None
    return resources.co_tenants if resources else ()


def _share_in_company(trial: Trial) -> float:
    """Of its wall time, as the executor saw it once a second."""
    resources = trial.finished.resources if trial.finished else None
    if resources is None or not resources.wall_s or not resources.co_tenants:
        return 0.0
    return (resources.overlap_s or 0.0) / resources.wall_s


def _rates(trials: Sequence[Trial]) -> list[float]:
    """Training images per wall second of each trial."""
    rates: list[float] = []
    for trial in trials:
        resources = trial.finished.resources if trial.finished else None
        if resources is None or resources.samples is None or resources.wall_s is None:
            continue
        training_s = resources.wall_s - sum(resources.overhead_s.values())
        if training_s > 0:
            rates.append(resources.samples / training_s)
    return rates
