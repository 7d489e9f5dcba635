"""Which memory a model's proposal gets: by lot, a small share, and written down."""

from collections import Counter
from pathlib import Path

import pytest
from factories.bench import KEY, Bench, lighter
from factories.settings import run_settings
from fakes.fake_llm import FakeLLM
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.cli.flags import MEMORY_LOT as MEMORY_LOT_OF_THE_COMMAND
from swarm.clock import SystemClock
from swarm.study.options import MEMORY_LOT
from swarm.verdict.merges import Merge
from workers.dispatch import Propose
from workers.memory_lot import drawn
from workers.worker import Worker

SHARED = run_settings(memory_lot=MEMORY_LOT)


def ask(seed: int = 1, arm: str = "llm", **fields: object) -> Propose:
    return Propose(arm=arm, role="climber", seed=seed, **fields)  # type: ignore[arg-type]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    study = make_tiny_study(tmp_path)
    monkeypatch.setenv("SWARM_GPU_DIR", str(study.ledger))
    study.root.joinpath(".swarm/studies/s").mkdir(parents=True)
    return study


def test_a_tenth_of_a_models_proposals_at_most_goes_without_the_memory_as_it_is() -> None:
    assert MEMORY_LOT <= 0.1 and MEMORY_LOT_OF_THE_COMMAND == MEMORY_LOT
    found = Counter(drawn(SHARED, ask(seed)) for seed in range(4000))
    assert found["shared"] == pytest.approx(3600, abs=60)
    assert found["shuffled"] == pytest.approx(200, abs=45) and found["off"] == pytest.approx(200, abs=45)
    assert drawn(SHARED, ask(7)) == drawn(SHARED, ask(7)), "the same for every turn of a proposal"


def test_a_lot_is_drawn_for_a_models_own_idea_alone() -> None:
    one = run_settings(memory_lot=1.0)
    assert drawn(one, ask()) in ("shuffled", "off") and drawn(one, ask(arm="llm:b")) in ("shuffled", "off")
    for other in (ask(arm="climb"), ask(repair="t0007"), ask(conflict=Merge("t0001", "t0002", "t0003"))):
        assert drawn(one, other) is None
    for memory in ("own", "off", "shuffled"):
        assert drawn(run_settings(memory_lot=1.0, memory=memory), ask()) is None
    assert drawn(run_settings(), ask()) is None, "a study from before there was a lot"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_was_drawn_is_what_the_model_was_told_and_stands_in_the_record(tiny: TinyStudy, share: float) -> None:
    seed = next(n for n in range(99) if drawn(run_settings(memory_lot=1.0), ask(n)) == "off")
    with FakeLLM([lighter]) as server:
        on = Bench(tiny, server)
        on.worker = Worker(on.settings.model_copy(update={"memory_lot": share}), "worker_1", SystemClock(), KEY)
        on.measure_noise()
        on.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2", loss=1.9)
        trial = on.worker.claim_proposal(ask(seed))
        prompts = [request.prompt for request in server.requests]
    assert trial is not None and trial.claim.memory == ("off" if share else "")
    assert trial.claim.nearest == (() if share else ("t0003",))
    assert ("Before you propose you may ask once" in prompts[0]) == (share == 0.0), "who knows of no trial cannot ask"
