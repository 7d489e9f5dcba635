"""Results of two device classes are never pooled: by going on elsewhere, by a second card, or by a comparison."""

from pathlib import Path

import pytest
from factories.orders import terms
from factories.records import started
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.steady_probe import CARD, SteadyProbe

from swarm.compare import analysis
from swarm.errors import SwarmError, UsageError
from swarm.gpu.device_class import device_class, processor
from swarm.nodes import node
from swarm.nodes.node import Place, facts_of
from swarm.orchestrator.cards import require_same_class


def ran_on(model: str, name: str = "nodes") -> FakeStudy:
    fake = FakeStudy(device_name=name)
    fake.write(started(fake.baseline(), study_id=fake.study.study_id, device_class=model))
    return fake


def test_a_study_of_nodes_goes_on_here_only_if_this_is_the_same_processor(tmp_path: Path) -> None:
    settings = run_settings(tmp_path)
    require_same_class(settings, ran_on(processor()).study)
    require_same_class(settings, FakeStudy().study)  # of an older version, or without a trial
    require_same_class(settings, None)
    with pytest.raises(UsageError, match="ran on a Another Processor: results would not compare"):
        require_same_class(settings, ran_on("Another Processor").study)


def test_studies_on_nodes_compare_by_what_their_nodes_are() -> None:
    analysis._require_same_start(ran_on("NVIDIA L4").study, ran_on("NVIDIA L4").study)
    with pytest.raises(SwarmError, match=r"nodes of NVIDIA L4 and .* on nodes of NVIDIA A100"):
        analysis._require_same_start(ran_on("NVIDIA L4").study, ran_on("NVIDIA A100").study)


def test_a_node_brings_cards_of_one_model(tmp_path: Path) -> None:
    from dataclasses import replace

    cards = SteadyProbe(CARD, replace(CARD, uuid="GPU-b", name="Fake 3090"))
    says = facts_of(Place("a", tmp_path), terms(device="cuda"), cards, (CARD.uuid,), "d")()
    assert (says.device_class, [card.name for card in says.cards]) == ("Fake 4090", ["Fake 4090"])


def test_a_place_is_the_same_for_the_next_agent_and_another_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    mark = Place("a", tmp_path).mark
    assert mark == Place("a", tmp_path).mark != Place("a", tmp_path / "b").mark
    monkeypatch.setattr(node, "boot_id", lambda: "a copy of this disk in another machine")
    assert Place("a", tmp_path).mark != mark


def test_a_card_s_class_is_its_model_and_a_processor_s_its_own(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert processor(tmp_path / "cpuinfo") == "Some CPU @ 2 GHz"
    assert processor(tmp_path / "none") != ""
    assert (device_class("cuda", "NVIDIA L4"), device_class("cpu", "CPU, 2 cores")) == ("NVIDIA L4", processor())
