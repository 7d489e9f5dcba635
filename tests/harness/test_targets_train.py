"""The targets' own programs: they declare what they use, build under every declared value, and train."""

import math
import tomllib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from swarm.harness.errors import HarnessError
from swarm.harness.prepare import prepare
from swarm.harness.run import Plan, run_trial, with_constants
from swarm.program import constants
from swarm.program.constants import Choice, Constant
from swarm.records import Scalar
from swarm.target.file import load_target
from swarm.trial.config import WorkBudget
from swarm.trial.contract import code_root

TARGETS = ("resnext", "efficientnet", "efficientnet_seed")


def folder(target: str) -> Path:
    return code_root() / "models" / target


def program(target: str, **changed: Scalar) -> types.ModuleType:
    """The program of the CPU profile with some constants changed, imported outside any trial."""
    profile = tomllib.loads((folder(target) / "target.toml").read_text())["profile"]["cpu"]["constants"]
    module = types.ModuleType(target)
    source = with_constants((folder(target) / "train.py").read_text(), {**profile, **changed_text(changed)})
    exec(compile(source, f"{target}/train.py", "exec"), module.__dict__)
    return module


def changed_text(changed: Mapping[str, Scalar]) -> dict[str, str]:
    return {name: repr(value) for name, value in changed.items()}


def extremes(constant: Constant) -> tuple[Scalar, ...]:
    space = constant.space
    assert space is not None
    return space.values if isinstance(space, Choice) else (space.low, space.high)


def variants(target: str) -> Iterator[dict[str, Scalar]]:
    """Settings of all constants at once, so that each limit and each choice occurs in one of them."""
    known = constants.parse((folder(target) / "train.py").read_text()).values()
    values = {constant.name: extremes(constant) for constant in known if constant.space is not None}
    for number in range(max(map(len, values.values()))):
        yield {name: choices[number % len(choices)] for name, choices in values.items()}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_loadable_and_its_profiles_fit_its_program(target: str) -> None:
    loaded = load_target(target, code_root())
    source = (folder(target) / "train.py").read_text()
    known = constants.parse(source)
    for profile in (loaded.profiles.cpu, loaded.profiles.gpu):
        for name, value in profile.constants.items():
            assert known[name].space is not None and known[name].space.contains(value), name
    profile = loaded.profiles.cpu.constants
    ours, theirs = with_constants(source, changed_text(profile)), constants.assign(source, profile)
    assert constants.parse(ours) == constants.parse(theirs)


@pytest.mark.parametrize("target", TARGETS)
def test_declared_values_lie_in_their_own_spaces(target: str) -> None:
    for constant in constants.parse((folder(target) / "train.py").read_text()).values():
        assert constant.space is None or constant.space.contains(constant.value), constant.name


@pytest.mark.parametrize("target", TARGETS)
def test_every_declared_value_builds_and_steps(target: str) -> None:
    for variant in variants(target):
        module = program(target, **variant)
        model = module.build_model()
        images = torch.zeros(2, 3, 32, 32)
        module.loss_of(model, images, torch.tensor([3, 97])).backward()
        module.build_optimizer(model).step()
        assert module.augmentation(images.byte()).shape == images.shape
        assert math.isfinite(module.learning_rate(0.0)), variant
        assert module.learning_rate(1.0) == pytest.approx(0.0), variant


@pytest.mark.parametrize(("target", "millions"), [("resnext", 1.9), ("efficientnet", 3.6)])
def test_parameters_of_the_gpu_profile(target: str, millions: float) -> None:
    module = types.ModuleType(target)
    exec((folder(target) / "train.py").read_text(), module.__dict__)
    count = sum(parameter.numel() for parameter in module.build_model().parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.3)


def test_program_can_be_imported_but_not_trained_outside_a_trial() -> None:
    with pytest.raises(HarnessError, match="SWARM_TRIAL is not set"):
        program("resnext").clock.progress  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(("target", "low", "high"), [("resnext", 0.8, 2.4), ("efficientnet", 1.0, 3.0)])
def test_baseline_is_neither_untrained_nor_saturated(target: str, low: float, high: float, tmp_path: Path) -> None:
    score = run_trial(Plan(folder(target), seed=1), prepare("standin").layout, tmp_path)
    assert low < score["validation_loss"] < high


@pytest.mark.slow
def test_bad_start_stays_near_guessing(tmp_path: Path) -> None:
    score = run_trial(Plan(folder("efficientnet_seed"), seed=1), prepare("standin").layout, tmp_path)
    assert score["validation_loss"] == pytest.approx(math.log(100), abs=0.2)


@pytest.mark.slow
def test_samples_budget_repeats_to_the_bit(tmp_path: Path) -> None:
    layout = prepare("standin").layout
    plan = Plan(folder("resnext"), seed=3, budget=WorkBudget("samples", 3200))
    scores = [run_trial(plan, layout, tmp_path / name) for name in ("one", "two")]
    assert scores[0] == scores[1]
