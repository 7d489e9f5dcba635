"""Situations of a study as a model is told them, over the shipped ResNeXt. The results are made up, and nothing in them
was measured."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from factories.studies import BASELINE_LOSS, FakeStudy

from swarm.program import constants
from swarm.records import FailReason, Note, Operator, Resources, Scalar, Steer
from swarm.study.lineage import commit_of
from swarm.target.file import load_target
from swarm.verdict.merges import Merge
from workers.briefing import Briefing, compute_briefing

ROOT = Path(__file__).parents[2]
CURVE = tuple((step / 20, round(4.6 - 1.9 * (step / 20) ** 0.5, 4)) for step in range(1, 21))
RUNGS = ((0.25, 3.31), (0.5, 2.94), (0.75, 2.41))
SETTINGS = (
    *(("MAX_LR", 0.1), ("MAX_LR", 0.4), ("MOMENTUM", 0.95), ("WEIGHT_DECAY", 1e-3), ("WARM_UP", 0.2)),
    *(("LABEL_SMOOTHING", 0.1), ("DROPOUT", 0.1), ("CUTOUT", 8), ("ACTIVATION", "gelu"), ("BATCH_SIZE", 128)),
)
CRASH = (
    "train ended with exit code 1. train.py line 96 in forward: x = self.stem(x)\n"
    "RuntimeError: Given groups=1, weight of size [16, 3, 3, 3], expected input[64, 1, 32, 32] to have 3 channels, but "
    "got 1 channels instead"
)


class Situation:
    """A study with the texts of its programs. `device` is cpu, or a card with so many MiB."""

    def __init__(self, device_mib: int | None = None, workers: int = 2) -> None:
        target = load_target("resnext", ROOT)
        profile = target.profiles.cpu if device_mib is None else target.profiles.gpu
        source = target.base_source((ROOT / "models/resnext/train.py").read_text(), profile)
        self._device_mib = device_mib
        self.fake = FakeStudy(
            seed=5, workers=workers, data="standin" if device_mib is None else "cifar100", device_name=_name(device_mib)
        )
        self.texts = {"t0001": source}
        for _ in range(5):
            self.fake.baseline()
        for trial_id in list(self.fake.study.trials):
            self._finish(trial_id, BASELINE_LOSS + 0.01 * (int(trial_id[1:]) - 3))

    def tune(self, name: str, value: Scalar, loss: float | None, **options: object) -> str:
        """Another value of a constant; `loss` None leaves it running."""
        parent = self._parent(options)
        old = constants.parse(self.texts[parent])[name].value
        text = constants.assign(self.texts[parent], {name: value})
        fields = {"family": "optimiser", "description": f"{name} {old} -> {value}", **options}
        return self._try(text, loss, constants={name: (old, value)}, parent=parent, **fields)

    def edit(self, old: str, new: str, loss: float | None, **options: object) -> str:
        """A structural edit of one place."""
        parent = self._parent(options)
        assert old in self.texts[parent], old
        fields = {"operator": Operator.STRUCTURAL, "family": "architecture", **options}
        return self._try(self.texts[parent].replace(old, new), loss, parent=parent, **fields)

    def fail(self, trial_id: str, reason: FailReason = FailReason.CRASHED, detail: str = CRASH) -> str:
        self.fake.fail(trial_id, reason, detail=detail)
        return trial_id

    def brief(self, **options: object) -> Briefing:
        study = self.fake.study
        commits = {commit_of(study, program): name for name, program in study.programs.items()}
        told: Mapping[str, object] = {
            "agent_id": "worker_1", "role": "climber", "program_text": (ROOT / "program.md").read_text(), "seed": 7,
            "sigma": 0.0163, "read_seq": 9, "memory": "shared", "memory_limit_mib": self._device_mib, "may_ask": True,
            "attempts_left": 2,
        }  # fmt: skip
        return compute_briefing(study, read_source=lambda commit: self.texts[commits[commit]], **{**told, **options})  # type: ignore[arg-type]

    def _parent(self, options: dict[str, object]) -> str:
        incumbent = self.fake.study.incumbent
        assert incumbent is not None
        return str(options.pop("parent", incumbent.name))

    def _try(self, text: str, loss: float | None, **fields: object) -> str:
        trial_id = self.fake.claim(source_lines=len(text.splitlines()), **fields)  # type: ignore[arg-type]
        self.texts[trial_id] = text
        self.fake.start(trial_id)
        if loss is not None:
            self._finish(trial_id, loss)
        return trial_id

    def _finish(self, trial_id: str, loss: float) -> None:
        resources = Resources(
            device="cpu", steps=610, samples=39_040, solo_rate=1_301.2, wall_s=34.0, params_m=0.0912,
            peak_mib=612 if self._device_mib is None else 3_420,
        )  # fmt: skip
        self.fake.finish(trial_id, loss, curve=CURVE, rungs=RUNGS, resources=resources)


STEM = "convolution(3, WIDTH, 3, STEM_STRIDE)"


def _name(device_mib: int | None) -> str:
    return "AMD EPYC, 2 cores" if device_mib is None else "NVIDIA GeForce RTX 4090"


def first_trial() -> Briefing:
    return Situation().brief()


def after_a_crash() -> Briefing:
    study = Situation()
    study.tune("MAX_LR", 0.1, 2.31)
    crashed = study.edit(STEM, STEM.replace("3, WIDTH, 3", "1, WIDTH, 3"), None, description="a stem of one channel")
    study.fail(crashed)
    return study.brief(repair=crashed, may_ask=False, attempts_left=1)


def at_a_plateau() -> Briefing:
    study = Situation()
    study.tune("MAX_LR", 0.4, 2.10)
    for name, value in SETTINGS[2:8]:
        study.tune(name, value, 2.12)
    study.tune("DROPOUT", 0.1, 2.16, parent="t0001", family="regularisation")
    diagnosis = (
        "6 proposals finished without a new leader. The training loss still fell by 4 % in the last fifth of the "
        "budget: it learns too slowly. Families: optimiser, schedule, batch, architecture (a faster one)."
    )
    return study.brief(diagnosis=diagnosis, restart=True, role="jumper", cooled_families=("optimiser",))


def with_steering() -> Briefing:
    study = Situation(workers=1)
    study.fake.write(Steer(action="veto", subject="augmentation", description="too slow on this machine"))
    study.fake.write(Steer(action="note", description="look at the stem"))
    study.fake.write(Note(agent_id="worker_2", description="wider is slower than it is better"))
    study.tune("MAX_LR", 0.4, 2.10)
    return study.brief(cooled_families=("augmentation",))


def after_a_merge_conflict() -> Briefing:
    study = Situation()
    ours = study.edit(STEM, f"{STEM}, nn.Dropout2d(0.1)", 2.05, description="drop channels behind the stem")
    theirs = study.edit(
        STEM,
        STEM.replace("3, STEM_STRIDE", "5, STEM_STRIDE"),
        2.09,
        parent="t0001",
        description="a stem of five pixels",
    )
    return study.brief(conflict=Merge(ours=ours, theirs=theirs, base="t0001"), may_ask=False)


def many_failures() -> Briefing:
    study = Situation(device_mib=24_564)
    for number in range(9):
        crashed = study.edit(
            STEM, STEM.replace("3, WIDTH, 3", f"{number + 4}, WIDTH, 3"), None, description="a wider input"
        )
        study.fail(crashed)
    large = study.tune("WIDTH", 128, None, family="architecture")
    study.fail(large, FailReason.OUT_OF_MEMORY, "train ran out of memory at its own limit of 11000 MiB")
    study.fail(study.tune("MAX_LR", 3.0, None), FailReason.DIVERGED, "the training loss is nan at step 41")
    return study.brief(role="jumper")


def refused() -> Briefing:
    study = Situation()
    name = study.tune("MAX_LR", 0.4, 2.10)
    study.tune("MOMENTUM", 0.95, None, agent_id="worker_2")
    again = constants.assign(study.texts[name], {"MOMENTUM": 0.95})
    return study.brief(refusal="t0007 tried this: MOMENTUM 0.9 -> 0.95 on t0006", refused=again, attempts_left=1)


def having_looked() -> Briefing:
    study = Situation()
    study.tune("MAX_LR", 0.4, 2.10)
    other = study.edit(STEM, f"{STEM}, nn.Dropout2d(0.1)", 2.15, parent="t0001", description="drop stem channels")
    return study.brief(look=other, may_ask=False)


def having_jumped() -> Briefing:
    study = Situation()
    study.tune("MAX_LR", 0.4, 2.10)
    other = study.edit(STEM, f"{STEM}, nn.Dropout2d(0.1)", 2.15, parent="t0001", description="drop stem channels")
    return study.brief(jump=other, may_ask=False)


def long_study(trials: int = 300) -> Briefing:
    """Something of everything, and descriptions as long as they may be."""
    study, lot = Situation(), random.Random(3)
    for number in range(trials):
        loss = 2.2 - 0.4 * (1 - 0.97**number) + lot.choice((0.01, 0.03, -0.015))
        name, value = SETTINGS[number % len(SETTINGS)]
        words = f"idea {number}: " + "what changes and why it should help, told at length " * 4
        fields = {"agent_id": f"worker_{number % 2 + 1}", "description": words[:300]}
        if isinstance(value, float):
            value = float(f"{value * (0.8 + 0.4 * lot.random()):.4g}")
        kind = number % 10
        if kind == 4:
            study.fail(study.edit(STEM, f"{STEM}, nn.Identity()", None, **fields))
        elif kind == 7:
            study.edit("def main", f"# {number}\ndef main", loss, **fields)
        else:
            study.tune(name, value, None if number >= trials - 2 else loss, **fields)
    study.fake.write(Steer(action="note", description="look at the stem"))
    for number in range(12):
        study.fake.write(Note(agent_id="worker_2", description=f"finding {number}: wider is slower than it is better"))
    return study.brief(diagnosis="6 proposals finished without a new leader. " * 4)


SITUATIONS: Mapping[str, Callable[[], Briefing]] = {
    function.__name__: function
    for function in (
        *(first_trial, after_a_crash, at_a_plateau, with_steering, after_a_merge_conflict, many_failures, refused),
        *(having_looked, having_jumped, long_study),
    )
}
