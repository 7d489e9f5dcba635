"""Bits a byte: what is shown, what is asked again, and who is found out. The models here are tables of numpy."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from swarm.harness import predict_phase, score_phase, stage_phase
from swarm.harness.batches import TextBatches, batches_of
from swarm.harness.bits import ROUNDING_BITS
from swarm.harness.errors import ContractBroken, InvalidOutput
from swarm.harness.stage_phase import UNCUT
from swarm.harness.text import LONGEST, ROWS, VOCABULARY, WINDOW, TextLayout, TextSet
from swarm.trial.asked import ASKED
from swarm.trial.config import TrialConfig, WorkBudget

SYMBOLS = np.frombuffer(b" aehilnorst.", np.uint8)
WINDOWS = 384  # fewer than there are, for the time it takes
ROWS_AGAIN = int(ASKED["text"].repeated_share * WINDOWS)
Answer = Callable[[np.ndarray], np.ndarray]
"""Windows uint8 [n, t] -> logits [n, t, 256]."""


def chain(length: int, seed: int) -> np.ndarray:
    """Text in which a byte says much about the next one and nothing else does."""
    random = np.random.default_rng(seed)
    table = np.random.default_rng(1).dirichlet(np.full(len(SYMBOLS), 0.25), len(SYMBOLS)).cumsum(axis=1)
    lots, state, found = random.random(length), 0, np.empty(length, np.int64)
    for at, lot in enumerate(lots.tolist()):
        state = min(int(np.searchsorted(table[state], lot)), len(SYMBOLS) - 1)
        found[at] = state
    return SYMBOLS[found]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> TextLayout:
    layout = TextLayout(tmp_path_factory.mktemp("text"))
    for folder in ("train", "private"):
        (layout.root / folder).mkdir()
    texts = {part: chain(WINDOWS * (LONGEST + 1), at) for at, part in enumerate(ROWS, start=2)}
    held = {part: text.reshape(-1, LONGEST + 1) for part, text in texts.items()}
    np.save(layout.text, chain(60_000, 9))
    np.save(layout.windows("val"), held["val"])
    np.save(layout.windows("test"), held["test"])
    np.save(layout.rung_windows, held["rung"][:, :-1])
    np.save(layout.windows("rung"), held["rung"][:, -1])
    return layout


@pytest.fixture
def config(layout: TextLayout, tmp_path: Path) -> TrialConfig:
    """A trial whose training is over and whose questions are staged."""
    config = TrialConfig(
        trial_id="t0001",
        study_id="test",
        seed=1,
        device="cpu",
        threads=1,
        data_dir=layout.root,
        root=tmp_path,
        budget=WorkBudget("samples", 10),
        editable="train.py",
        harness="text",
    )
    config.folder.make()
    config.folder.config.write_text(config.to_json())
    assert stage_phase.run(config.folder.config) == 0
    return config


@pytest.fixture(scope="module")
def honest(layout: TextLayout) -> Answer:
    """The counts of the training text: what followed each byte."""
    text = np.load(layout.text).astype(np.int64)
    counts = np.full((VOCABULARY, VOCABULARY), 0.01)
    np.add.at(counts, (text[:-1], text[1:]), 1)
    table = np.log(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return lambda windows: table[windows]


def score(config: TrialConfig, answer: Answer, again: Answer | None = None) -> tuple[int, dict[str, object]]:
    """What becomes of a model that answers so in the first process, and in the second."""
    np.save(config.folder.logits, answer(np.load(config.folder.windows)).astype(np.float32))
    asked_again = (again or answer)(np.load(config.folder.repeat_windows))
    np.save(config.folder.repeat_logits, asked_again.astype(np.float32))
    code = score_phase.run(config.folder.config)
    return code, json.loads(config.folder.score.read_text())


def told(windows: np.ndarray, logits: np.ndarray, where: np.ndarray | bool = True, strength: float = 6.0) -> np.ndarray:
    """The logits, with the byte after each place that is shown raised where `where` says so."""
    where = np.broadcast_to(where, windows.shape)
    rows, places = np.nonzero(where[:, :-1])
    found = logits.copy()
    found[rows, places, windows[rows, places + 1]] += strength
    return found


def test_the_target_of_the_last_place_is_never_shown_and_the_cuts_are_secret(config: TrialConfig) -> None:
    folder, layout = config.folder, TextLayout(config.data_dir)
    held, order = np.load(layout.windows("val")), np.load(folder.image_order)
    shown, again = np.load(folder.windows), np.load(folder.repeat_windows)
    rows, cuts = np.load(folder.repeat_rows), np.load(folder.cuts)
    assert shown.shape == (WINDOWS, WINDOW["cpu"]) and again.shape == (ROWS_AGAIN, WINDOW["cpu"])
    assert (shown == held[order, -1 - WINDOW["cpu"] : -1]).all()
    assert sorted(order.tolist()) == list(range(WINDOWS)) and len(set(rows.tolist())) == ROWS_AGAIN
    before = np.arange(WINDOW["cpu"]) < cuts[:, None]
    same = again == held[rows, -1 - WINDOW["cpu"] : -1]
    assert same[before].all() and same[~before].mean() < 0.5
    whole = cuts == WINDOW["cpu"]
    assert whole.sum() == ROWS_AGAIN // UNCUT and cuts.min() >= 1 and len(set(cuts.tolist())) > 50
    first = cuts.copy()
    assert stage_phase.run(folder.config) == 0
    second = np.load(folder.cuts)
    both = (first < WINDOW["cpu"]) & (second < WINDOW["cpu"])
    assert (second != first)[both].mean() > 0.9 and (np.load(folder.image_order) != order).any()


def test_an_honest_model_is_scored_in_bits_a_byte(config: TrialConfig, honest: Answer) -> None:
    code, found = score(config, honest)
    assert code == 0, found
    held = np.load(TextLayout(config.data_dir).windows("val"))[:, -1 - WINDOW["cpu"] :].astype(np.int64)
    own = honest(held[:, :-1])[np.arange(len(held))[:, None], np.arange(WINDOW["cpu"]), held[:, 1:]]
    assert found["validation_loss"] == pytest.approx(-own.mean() / np.log(2), abs=1e-5)
    losses = np.load(config.folder.losses)
    assert losses.shape == (WINDOWS,) and losses.mean() == pytest.approx(found["validation_loss"], abs=1e-3)
    assert (found["rows"], found["classes"]) == (WINDOWS, VOCABULARY)
    assert 0.2 < found["top1"] < found["top5"] <= 1


def test_guessing_costs_eight_bits_and_no_distribution_sums_to_more_than_one(config: TrialConfig) -> None:
    """A "distribution" that gives each byte 277 costs what guessing costs: the softmax is the scorer's."""
    for level in (0.0, 277.0, -1e4):
        code, found = score(config, lambda windows, level=level: np.full((*windows.shape, VOCABULARY), level))
        assert (code, found["validation_loss"], found["top1"]) == (0, pytest.approx(8.0, abs=1e-6), 0.0)


def _chunk(size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Places whose next byte lies in the same chunk."""
    return lambda windows: np.broadcast_to(np.arange(windows.shape[1]) % size != size - 1, windows.shape)


LOOKS = {
    "at_each_next_byte": lambda windows: np.True_,
    "in_chunks_of_16": _chunk(16),
    "in_chunks_of_64": _chunk(64),
    "at_one_place_of_eight": lambda windows: np.broadcast_to(np.arange(windows.shape[1]) % 8 == 3, windows.shape),
    "behind_the_lengths_that_are_usually_probed": lambda windows: np.broadcast_to(
        ~np.isin(np.arange(windows.shape[1]), (0, 2, 6, 14, 30, 31, 62)), windows.shape
    ),
    "in_one_window_of_twenty": lambda windows: windows.sum(axis=1, keepdims=True, dtype=int) % 20 == 3,
    "where_it_is_a_letter_that_is_rare": lambda windows: np.roll(windows, -1, axis=1) == SYMBOLS[3],
}


@pytest.mark.parametrize("look", LOOKS)
def test_who_sees_the_next_byte_is_found_out(config: TrialConfig, honest: Answer, look: str) -> None:
    code, found = score(config, lambda windows: told(windows, honest(windows), LOOKS[look](windows)))
    assert code == 13 and "validation_loss" not in found
    assert str(found["error"]).startswith("it sees later tokens: just before a secret place it is better by"), found


def test_a_leak_in_a_few_windows_is_found_out(config: TrialConfig, honest: Answer) -> None:
    """Too few to be certain on average: each alone is more than rounding makes."""
    rows, cuts = np.load(config.folder.repeat_rows), np.load(config.folder.cuts)
    order = np.load(config.folder.image_order).tolist()
    where = np.zeros((WINDOWS, WINDOW["cpu"]), bool)
    for caught in np.flatnonzero(cuts < WINDOW["cpu"])[:4]:
        where[order.index(rows[caught]), cuts[caught] - 1] = True
    code, found = score(config, lambda windows: told(windows, honest(windows), where, 0.4), honest)
    assert code == 13 and "just before a secret place it is better" in str(found["error"]), found


def test_a_leak_that_is_weak_everywhere_is_found_out(config: TrialConfig, honest: Answer) -> None:
    code, found = score(config, lambda windows: told(windows, honest(windows), strength=0.05))
    assert code == 13 and "sees later tokens" in str(found["error"])


def test_a_leak_that_hides_in_the_second_process_is_found_out(config: TrialConfig, honest: Answer) -> None:
    """It knows in which process it is, and answers honestly there: then the first was better by its leak."""
    code, found = score(config, lambda windows: told(windows, honest(windows)), honest)
    assert code == 13 and "just before a secret place it is better" in str(found["error"])


def test_what_lies_further_ahead_than_the_next_byte_is_seen_in_the_places_before(
    config: TrialConfig, honest: Answer
) -> None:
    """A filter that goes round the window's end: nothing is gained at the last place, and everything has changed."""

    def round_the_end(windows: np.ndarray) -> np.ndarray:
        return honest(windows) + 0.01 * np.roll(honest(windows), 5, axis=1)

    code, found = score(config, round_the_end)
    assert code == 13 and "got other answers for their first bytes" in str(found["error"])


def test_a_leak_too_rare_to_be_certain_is_charged(config: TrialConfig, honest: Answer) -> None:
    """One window of the second pass is not enough to call it a leak: the score pays what was gained there, on average
    as much as the leak wins."""
    rows, cuts = np.load(config.folder.repeat_rows), np.load(config.folder.cuts)
    order = np.load(config.folder.image_order).tolist()
    caught = int(np.flatnonzero(cuts < WINDOW["cpu"])[0])
    where = np.zeros((WINDOWS, WINDOW["cpu"]), bool)
    where[order.index(rows[caught]), cuts[caught] - 1] = True
    plain = score(config, honest)[1]["validation_loss"]
    code, found = score(config, lambda windows: told(windows, honest(windows), where), honest)
    assert code == 0 and found["validation_loss"] > plain + ROUNDING_BITS["cpu"]


@pytest.mark.parametrize("kind", ["statistics", "memory", "chance"])
def test_an_answer_that_depends_on_its_company_is_found_out(config: TrialConfig, honest: Answer, kind: str) -> None:
    lots = np.random.default_rng(3)
    seen = np.zeros(VOCABULARY)

    def answer(windows: np.ndarray) -> np.ndarray:
        logits = honest(windows)
        if kind == "statistics":
            return logits + np.log(np.bincount(windows.reshape(-1), minlength=VOCABULARY) + 1)
        if kind == "chance":
            return logits * (lots.random(logits.shape) > 0.1)
        found = []
        for window, own in zip(windows, logits, strict=True):
            found.append(own + 0.1 * np.log(seen + 1))
            seen[:] += np.bincount(window, minlength=VOCABULARY)
        return np.stack(found)

    code, found = score(config, answer)
    named = ["in other company"]
    if kind == "statistics":
        named.append("it sees later tokens")  # as true of it: the statistics are of its own window's end as well
    assert code == 13 and any(name in str(found["error"]) for name in named), found


def test_rounding_is_no_leak(config: TrialConfig, honest: Answer) -> None:
    lots = np.random.default_rng(3)
    assert score(config, lambda windows: honest(windows) + lots.normal(0, 1e-5, (*windows.shape, VOCABULARY)))[0] == 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda logits: logits[:-1], "has shape (383, 64, 256)"),
        (lambda logits: logits[:, -1], "has shape (384, 256)"),
        (lambda logits: logits[..., :128], "has shape (384, 64, 128)"),
        (lambda logits: np.where(logits < -5, -np.inf, logits), "not finite"),
    ],
)
def test_what_is_no_answer_is_refused(
    config: TrialConfig, honest: Answer, broken: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    code, found = score(config, lambda windows: broken(honest(windows)), honest)
    assert code == 13 and reason in str(found["error"])


@pytest.mark.parametrize("shape", [(3, 64), (3, 64, 255), (2, 64, 256), (3, 63, 256)])
def test_a_model_that_gives_no_logits_for_each_place_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidOutput, match="256 logits for each place"):
        predict_phase._check_shape(torch.zeros(shape), (3, 64), "text")
    predict_phase._check_shape(torch.zeros(3, 64, 256), (3, 64), "text")


def test_without_the_second_answers_there_is_no_score(config: TrialConfig, honest: Answer) -> None:
    score(config, honest)
    config.folder.repeat_logits.unlink()
    assert score_phase.run(config.folder.config) == 13


def test_a_rung_counts_the_one_byte_that_is_not_shown(config: TrialConfig, honest: Answer) -> None:
    layout, config = TextLayout(config.data_dir), replace(config, rungs=(0.5,))
    config.folder.config.write_text(config.to_json())
    windows, following = np.load(layout.rung_windows), np.load(layout.windows("rung"))
    np.save(config.folder.taken_rung(50), honest(windows)[:, -1].astype(np.float16))
    assert score_phase.run(config.folder.config, rung=50) == 0
    found = json.loads(config.folder.rung_score(50).read_text())
    own = honest(windows)[np.arange(len(windows)), -1, following]
    assert found["loss"] == pytest.approx(-own.mean() / np.log(2), abs=2e-3) and found["rows"] == WINDOWS


class TestBatches:
    TEXT = TextSet(torch.arange(200, dtype=torch.uint8), 8)

    def test_each_place_is_followed_by_its_target(self) -> None:
        source = TextBatches(self.TEXT, 4, seed=1)
        for _ in range(50):
            epoch, rows = source.next_rows()
            tokens, following = source.load(rows)
            assert tokens.shape == following.shape == (4, 8) and tokens.dtype == torch.int64
            assert (tokens[:, 0] == rows).all() and (following == tokens + 1).all()
        assert epoch == 49 * 4 // len(self.TEXT)
        last, _ = source.load(torch.tensor([200 - 9]))
        assert last[0, -1] == 198

    def test_the_seed_decides_alone(self) -> None:
        drawn = [TextBatches(self.TEXT, 4, seed).next_rows()[1].tolist() for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_text_is_not_augmented_and_a_batch_fits_into_it(self) -> None:
        with pytest.raises(ContractBroken, match="text has none"):
            batches_of(self.TEXT, 4, lambda batch: batch, 1)
        with pytest.raises(ContractBroken, match=r"outside 1\.\.24, the windows"):
            batches_of(self.TEXT, 25, None, 1)
