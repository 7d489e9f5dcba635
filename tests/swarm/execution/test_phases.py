"""What each process of a trial may read and write: who sees labels, orders, weights and the answers of others."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.execution.phases import lay_out, probe_phase, trial_phases
from swarm.harness.layout import Layout
from swarm.records import Budget
from swarm.supervisor import PhaseSpec
from swarm.trial.config import TrialConfig
from swarm.trial.contract import Phase
from swarm.trial.folder import TrialFolder

FOLDER = TrialFolder(Path("/study/trials/t0001"))
DATA = Layout(Path("/data/cifar"))
CONFINED = (Phase.PROBE, Phase.TRAIN, Phase.PREDICT, Phase.REPEAT)


def order(kind: str = "solo_seconds", device: str = "cpu") -> TrialOrder:
    return TrialOrder(
        study_id="s",
        trial_id="t0001",
        agent_id="worker_1",
        target="tiny",
        files={"train.py": b""},
        editable="train.py",
        seed=1,
        budget=Budget(kind=kind, amount=60, walltime_limit_s=600),
        rungs=(0.25, 0.5),
        device=device,
        threads=2,
        harness_sha256="",
        memory=MemoryEvidence(profile_mib=1000),
    )


def phases(**terms: str) -> dict[str, PhaseSpec]:
    found = trial_phases(FOLDER, order(**terms), DATA.root, None)
    return {phase.name: phase for phase in (*found, probe_phase(found[0]))}


def reached(phase: PhaseSpec, path: Path, *, to_write: bool = False) -> bool:
    allowed = phase.write if to_write else (*phase.read, *phase.write)
    return any(path.is_relative_to(place) for place in allowed)


def secrets() -> Iterator[Path]:
    """What no code of a candidate may ever see."""
    yield from (DATA.labels("rung"), DATA.labels("val"), DATA.labels("test"), DATA.images("val"), DATA.images("test"))
    yield from (DATA.root, DATA.root / "private", DATA.root / "eval")
    yield from (FOLDER.image_order, FOLDER.repeat_rows, FOLDER.losses, FOLDER.score, FOLDER.private, FOLDER.root)
    yield from (FOLDER.taken_rung(25), FOLDER.rung_score(25), FOLDER.spec, FOLDER.order, FOLDER.logs, FOLDER.result)
    yield from (FOLDER.root.parent / "t0002" / "train_out", FOLDER.root.parent)


@pytest.mark.parametrize("name", CONFINED)
def test_labels_orders_and_scores_are_out_of_reach(name: Phase) -> None:
    phase = phases()[name]
    assert not phase.trusted
    assert [path for path in secrets() if reached(phase, path)] == []


@pytest.mark.parametrize("name", [Phase.PREDICT, Phase.REPEAT])
def test_who_predicts_sees_no_labelled_image_and_nothing_of_the_training_but_its_weights(name: Phase) -> None:
    phase = phases()[name]
    for path in (DATA.labels("train"), DATA.images("train"), DATA.images("rung"), DATA.root / "train"):
        assert not reached(phase, path), path
    for path in (FOLDER.train_report, FOLDER.heartbeat, FOLDER.train_out / "anything"):
        assert not reached(phase, path), path
    assert reached(phase, FOLDER.weights)


def test_each_sees_only_the_images_that_are_its_own() -> None:
    train, predict, repeat = (phases()[name] for name in (Phase.TRAIN, Phase.PREDICT, Phase.REPEAT))
    for image in (FOLDER.images, FOLDER.repeat_images, FOLDER.logits, FOLDER.repeat_logits):
        assert not reached(train, image), image
    assert reached(predict, FOLDER.images) and reached(repeat, FOLDER.repeat_images)
    assert not reached(predict, FOLDER.repeat_images) and not reached(predict, FOLDER.repeat_logits)
    assert not reached(repeat, FOLDER.images) and not reached(repeat, FOLDER.logits)


@pytest.mark.parametrize("name", CONFINED)
def test_what_was_handed_in_stays_as_it_is(name: Phase) -> None:
    """Also the program: what predicts is what trained."""
    written = {Phase.PREDICT: FOLDER.predict_out, Phase.REPEAT: FOLDER.repeat_out}.get(name, FOLDER.train_out)
    assert set(map(Path, phases()[name].write)) == {FOLDER.scratch, written}
    for path in (FOLDER.program, FOLDER.config, FOLDER.images, FOLDER.repeat_images):
        assert not reached(phases()[name], path, to_write=True), path


@pytest.mark.parametrize("name", CONFINED)
def test_each_is_held_to_limits(name: Phase) -> None:
    phase = phases()[name]
    assert phase.walltime_limit_s <= 600 and phase.cpu_limit_s is not None
    assert phase.stall_limit_s is not None or name in (Phase.PREDICT, Phase.REPEAT)
    assert phases(device="cuda")[name].gpu and not phase.gpu


def test_the_lease_ends_with_the_last_that_computes() -> None:
    held = [phase.name for phase in trial_phases(FOLDER, order(), DATA.root, None) if phase.holds_lease]
    assert held == [Phase.TRAIN, Phase.STAGE, Phase.PREDICT, Phase.REPEAT]


def test_the_test_split_is_staged_as_the_validation_split_is_and_may_take_twice_the_work() -> None:
    usual, test = (
        trial_phases(FOLDER, order().model_copy(update={"split": split}), DATA.root, None) for split in ("val", "test")
    )
    for before, after in zip(usual, test, strict=True):
        assert (before.name, before.read, before.write, before.trusted) == (
            after.name, after.read, after.write, after.trusted
        )  # fmt: skip
    limits = [{phase.name: phase.cpu_limit_s for phase in one}[Phase.PREDICT] for one in (usual, test)]
    assert limits == [60 / 2 + 60, 60 + 60]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_phases_are_told_what_the_trial_is_scored_on(tmp_path: Path, split: str) -> None:
    lease = SimpleNamespace(cap_fraction=None, cap_mib=1000, alone=True, env={})
    folder = TrialFolder(tmp_path / "t0001")
    lay_out(folder, order().model_copy(update={"split": split}), lease, DATA.root, probe=False)  # type: ignore[arg-type]
    assert TrialConfig.from_json(folder.config.read_text()).split == split
