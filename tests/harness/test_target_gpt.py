"""The language model's own program: it builds under every declared value, is causal, and learns; so do its edits."""

import math
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from swarm import gate
from swarm.harness.prepare import prepare
from swarm.harness.run import Plan, run_trial
from swarm.harness.text import VOCABULARY, WINDOW
from swarm.program import constants
from swarm.program.constants import Choice
from swarm.records import Scalar
from swarm.target.file import load_target
from swarm.trial.config import WorkBudget
from swarm.trial.contract import code_root
from workers.proposers.library import EDITS, Edit

FOLDER = code_root() / "models" / "gpt"
SOURCE = (FOLDER / "train.py").read_text()
PROFILE = tomllib.loads((FOLDER / "target.toml").read_text())["profile"]["cpu"]["constants"]
SMALL = {**PROFILE, "WIDTH": 48, "BATCH_SIZE": 8}
APPLICABLE = [item for item in EDITS if item.applies(SOURCE)]


def program(source: str = SOURCE, **changed: Scalar) -> types.ModuleType:
    """The program of the CPU profile with some constants changed, imported outside any trial."""
    module = types.ModuleType("gpt")
    exec(compile(constants.assign(source, {**PROFILE, **changed}), "gpt/train.py", "exec"), module.__dict__)
    return module


def variants() -> Iterator[dict[str, Scalar]]:
    """Settings of all constants at once, so that each limit and each choice occurs in one of them."""
    known = constants.parse(SOURCE).values()
    spaces = {constant.name: constant.space for constant in known if constant.space is not None}
    values = {
        name: space.values if isinstance(space, Choice) else (space.low, space.high) for name, space in spaces.items()
    }
    for number in range(max(map(len, values.values()))):
        yield {name: choices[number % len(choices)] for name, choices in values.items()}


def windows(rows: int = 2, length: int = WINDOW["cpu"]) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def assert_causal(model: torch.nn.Module) -> None:
    """What follows a place changes no answer up to it, and a row none of another."""
    model.eval()
    tokens = windows(3)
    with torch.inference_mode():
        before = model(tokens)
        for place in (1, 17, 50):
            other = tokens.clone()
            other[:, place:] = 0
            assert torch.allclose(model(other)[:, :place], before[:, :place], atol=1e-5)
        assert torch.allclose(model(tokens[1:2]), before[1:2], atol=1e-5)
    assert before.shape == (3, WINDOW["cpu"], VOCABULARY)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)


def test_target_is_loadable_and_its_profiles_fit_its_program() -> None:
    loaded, known = load_target("gpt", code_root()), constants.parse(SOURCE)
    assert (loaded.harness, loaded.classes, loaded.objective.label) == ("text", VOCABULARY, "bits per byte (bits)")
    for profile in (loaded.profiles.cpu, loaded.profiles.gpu):
        for name, value in profile.constants.items():
            assert known[name].space is not None and known[name].space.contains(value), name
    assert all(constant.space is None or constant.space.contains(constant.value) for constant in known.values())
    assert gate.check_base(SOURCE) is None


@pytest.mark.parametrize("changed", list(variants()), ids=lambda changed: f"width {changed['WIDTH']}")
def test_it_builds_and_learns_at_every_limit(changed: dict[str, Scalar]) -> None:
    small = {**changed, "LAYERS": min(2, int(changed["LAYERS"])), "BATCH_SIZE": 4, "MAX_LR": 1e-3}
    train_a_step(program(**small))


@pytest.mark.parametrize("length", list(WINDOW.values()))
def test_it_is_causal_and_answers_for_each_place_of_each_device(length: int) -> None:
    model = program(**SMALL).build_model()
    assert_causal(model)
    assert model(windows(2, length)).shape == (2, length, VOCABULARY)


def test_an_untrained_one_guesses() -> None:
    module = program(**SMALL)
    loss = module.loss_of(module.build_model(), windows(4), windows(4))
    assert float(loss.detach()) == pytest.approx(math.log(VOCABULARY), abs=0.1)


@pytest.mark.parametrize("item", APPLICABLE, ids=lambda item: item.name)
def test_an_edit_that_applies_passes_the_gate_stays_causal_and_learns(item: Edit) -> None:
    edited = item.apply(SOURCE)
    assert not isinstance(gate.check(edited, SOURCE, []), gate.Refusal)
    module = program(edited, **{name: value for name, value in SMALL.items() if name in constants.parse(edited)})
    train_a_step(module)
    assert_causal(module.build_model())


def test_the_library_says_where_it_does_not_apply() -> None:
    """What is of images is not: flips, cuts and blends, strides, squeezes."""
    names, families = {item.name for item in APPLICABLE}, {item.family for item in EDITS}
    assert len(APPLICABLE) >= 10 and "augmentation" in families
    assert [item.name for item in APPLICABLE if item.family == "augmentation"] == []
    assert {"mean_tail", "mish"} <= names


def train_a_step(module: types.ModuleType) -> None:
    model = module.build_model()
    optimizer = module.build_optimizer(model)
    tokens, following = windows(), windows().roll(1, 1)
    losses = []
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = min(1e-3, float(module.learning_rate(0.3)) + 1e-5 * step)
        loss = module.loss_of(model, tokens, following)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.slow
def test_a_trial_learns_the_stand_in(tmp_path: Path) -> None:
    plan = Plan(target=FOLDER, budget=WorkBudget("samples", 3200), constants={"WIDTH": "48"})
    score = run_trial(plan, prepare("standin", harness="text").layout, tmp_path / "trial")
    assert 2.0 < score["validation_loss"] < 4.5 and score["rows"] == 1024
