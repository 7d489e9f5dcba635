"""The experts' target: numpy computes what torch trained, a plan is data, and only tensors that exist are counted."""

import io
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from factories import experts
from factories.experts import even_plan

from swarm import gate
from swarm.program import constants
from swarm.program.constants import Choice
from swarm.records import Scalar
from workers.proposers.library import EDITS

SOURCE = (experts.FOLDER / "plan.py").read_text()
own: Any = types.SimpleNamespace(**experts.modules())
SHAPE = own.reading.Shape((16, 16, 16), 12)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the grader has it, which is that of the program as well."""
    for path, content in experts.files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graded(workplace: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    own.grade.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def run_program(**changed: Scalar) -> None:
    module = types.ModuleType("plan")
    namespace = {**module.__dict__, "moe": own.moe}
    source = constants.assign(SOURCE, changed).replace("import moe\n", "")
    exec(compile(source, "plan.py", "exec"), namespace)
    namespace["main"]()


def variants() -> Iterator[dict[str, Scalar]]:
    """Settings of all constants at once, so that each limit and each choice occurs in one of them."""
    spaces = {one.name: one.space for one in constants.parse(SOURCE).values() if one.space is not None}
    values = {
        name: space.values if isinstance(space, Choice) else (space.low, space.high) for name, space in spaces.items()
    }
    for number in range(max(map(len, values.values()))):
        yield {name: choices[number % len(choices)] for name, choices in values.items()}


def test_target_is_loadable_and_its_program_is_one_that_a_study_can_begin_with() -> None:
    loaded, known = experts.target(), constants.parse(SOURCE)
    assert (loaded.terms.grade, loaded.terms.noise, loaded.terms.has_test) == ("graded", "items", True)
    assert all(constant.space is None or constant.space.contains(constant.value) for constant in known.values())
    assert sum(constant.space is not None for constant in known.values()) == 7
    assert gate.check_base(SOURCE, loaded.terms) is None


def test_the_library_says_that_nothing_of_it_applies() -> None:
    assert [item.name for item in EDITS if item.applies(SOURCE)] == []


def test_numpy_computes_what_torch_has_trained() -> None:
    torch.manual_seed(2)
    model = own.network.Mixture()
    windows = np.random.default_rng(2).integers(0, 256, (3, 65)).astype(np.uint8)
    with torch.inference_mode():
        tokens = torch.from_numpy(windows).long()
        losses = F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
    bits = own.moe.bits(loaded_from(model), windows)
    assert np.allclose(bits, losses.mean(dim=1).numpy() / np.log(2), rtol=1e-4)


def loaded_from(model: torch.nn.Module) -> Any:
    buffer = io.BytesIO()
    np.savez(buffer, **own.make.arrays_of(model))
    buffer.seek(0)
    return own.moe.load(buffer)


def test_a_plan_of_all_experts_is_the_whole_model_and_is_too_large(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, windows = own.moe.load("inputs/model.npz"), np.load("private/windows.npy")
    same = own.moe.build(whole, [[[expert] for expert in range(16)]] * 3)
    assert np.array_equal(own.moe.bits(same, windows), own.moe.bits(whole, windows))
    assert own.moe.size_bytes(same) == own.moe.size_bytes(whole) == 4 * 482_752 + 48
    Path("outputs/plan.json").write_text(json.dumps(even_plan(16)))
    answer = graded(workplace, capsys)
    assert not answer["valid"] and "has 1931056 bytes in 118 tensors that exist; the limit is 1150000" in answer["why"]


def test_a_merged_expert_is_the_mean_of_its_members_and_their_rows_lead_to_it() -> None:
    whole = loaded_from(own.network.Mixture())
    member = own.moe.Member
    smaller = own.moe.build(whole, [[[member(3, 3), member(5, 1)], [0]], [[1]], [[2], [4]]])
    layer, before = smaller.layers[0], whole.layers[0]
    assert np.allclose(layer.inputs[0], 0.75 * before.inputs[3] + 0.25 * before.inputs[5], atol=1e-6)
    assert layer.serves.tolist() == [0, 0, 1] and np.array_equal(layer.router, before.router[[3, 5, 0]])
    assert len(layer.inputs) == 2 and not np.shares_memory(layer.inputs[1], before.inputs[0])
    bits, uses = own.moe.run(smaller, np.zeros((2, 65), np.uint8))
    assert np.isfinite(bits).all() and uses.shape == (2, 64, 3, 2) and uses[:, :, 1].max() == 0


def test_the_last_byte_changes_no_answer_before_it() -> None:
    whole = loaded_from(own.network.Mixture())
    windows = np.random.default_rng(3).integers(0, 256, (2, 65)).astype(np.uint8)
    other = windows.copy()
    other[:, 40:] = 7
    for one, two in zip(own.moe.states(whole, windows), own.moe.states(whole, other), strict=True):
        assert np.allclose(one.reshape(2, 64, -1)[:, :40], two.reshape(2, 64, -1)[:, :40], atol=1e-5)


def test_tensors_that_share_memory_are_refused() -> None:
    whole = loaded_from(own.network.Mixture())
    with pytest.raises(own.reading.BadPlan, match="share memory"):
        own.grade.require_size(whole, 10**9)


def test_experts_are_fetched_where_there_is_no_room_for_them() -> None:
    uses = np.array([[[[0, 1]], [[0, 1]], [[2, 1]], [[0, 1]]]], np.uint8)  # one window of four bytes, one layer
    assert own.moe.loads(uses, [[]], 4) == 1000 * 3 / 4
    assert own.moe.loads(uses, [[]], 2) == 1000 * 4 / 4, "0 makes way for 2, which makes way for 0"
    assert own.moe.loads(uses, [[0, 1]], 4) == 1000 * 1 / 4


@pytest.mark.parametrize("changed", list(variants()), ids=lambda changed: str(changed["WORTH"]))
def test_every_declared_value_gives_a_plan_that_is_graded(
    workplace: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Scalar]
) -> None:
    run_program(**changed)
    answer = graded(workplace, capsys)
    assert answer["valid"], answer
    metrics, items = answer["metrics"], json.loads(Path("items.json").read_text())
    assert metrics["model_bytes"] <= 1_150_000 and metrics["experts"] == 24 and 0 < metrics["loads"] <= 6000
    assert len(items) == experts.ROWS and metrics["bits_per_byte"] == pytest.approx(np.mean(items), abs=1e-6)


def first(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["layers"][0].update({key: value})


def member(*value: object) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["layers"][1]["experts"].__setitem__(0, [list(value)])


def all_resident(plan: dict[str, Any]) -> None:
    for layer in plan["layers"]:
        layer["resident"] = list(range(8))


BAD: tuple[tuple[str, Callable[[dict[str, Any]], None], str], ...] = (
    ("a part that is no number", member(0, float("nan")), "the part of expert 0 is nan: a whole number from 1 to 1000"),
    ("an infinite part", member(0, float("inf")), "the part of expert 0 is inf"),
    ("a huge part", member(0, 10**30), "a whole number from 1 to 1000 is wanted"),
    ("a negative part", member(0, -1), "the part of expert 0 is -1"),
    ("a fraction", member(0, 0.5), "the part of expert 0 is 0.5"),
    ("an expert beyond the last", member(16, 1), "an expert is 16: a whole number from 0 to 15"),
    ("an expert before the first", member(-1, 1), "an expert is -1"),
    ("a truth for a number", member(True, 1), "an expert is True"),
    ("a text for a number", member("0", 1), "an expert is '0'"),
    ("an expert twice", member(3, 1), "layer 1: expert 3 is used twice"),
    ("an expert twice in one", first("experts", [[[2, 1], [2, 1]]]), "layer 0: expert 2 is used twice"),
    ("a member with weights", member(0, 1, [0.5] * 64), "a member is "),
    ("an expert of nothing", first("experts", [[]]), "a list of its members"),
    ("a layer of nothing", first("experts", []), "a list of 1 to 16 new experts"),
    ("a resident expert that is not there", first("resident", [8]), "a resident expert is 8"),
    ("a resident expert twice", first("resident", [1, 1]), "a resident expert is named twice"),
    ("all resident", all_resident, "24 experts are"),
    ("weights beside", first("weights", [0.1] * 100), "carries no weights and no wishes"),
    ("a wish", lambda plan: plan.update(valid=True, skip=True), "has 'skip', which is nothing that a plan says"),
    ("a layer less", lambda plan: plan["layers"].pop(), "a list of 3 layers is wanted"),
    ("a key less", lambda plan: plan["layers"][0].pop("resident"), "layer 0 has no resident"),
)


@pytest.mark.parametrize(("change", "why"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_a_plan_that_breaks_a_rule_is_refused_in_words(change: Callable[[dict[str, Any]], None], why: str) -> None:
    with pytest.raises(own.reading.BadPlan) as refused:
        own.reading.read_plan(even_plan(change=change), SHAPE)
    assert why in str(refused.value)


@pytest.mark.parametrize("content", [None, [], "plan", 3, {"layers": {}}, {"layers": [1, 2, 3]}])
def test_what_is_no_plan_is_refused(content: object) -> None:
    with pytest.raises(own.reading.BadPlan):
        own.reading.read_plan(content, SHAPE)
    assert own.reading.read_plan(even_plan(), SHAPE).resident == ((), (), ())
