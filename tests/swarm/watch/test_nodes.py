"""Nodes as a person sees them: in a terminal, on the page, in the report; and one real exchange."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from factories.frames import HOSTILE, frame, slot
from factories.orders import STUDY, beat, order, running, terms
from factories.records import started
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock
from rich.console import Console

from swarm.nodes.host import ExchangeHost
from swarm.orchestrator.control import only_orchestrator
from swarm.orchestrator.settings_file import save_settings
from swarm.report.integrity import integrity
from swarm.report.nodes import nodes
from swarm.report.sections import ran_on
from swarm.study.devices import device_class, device_of
from swarm.study.settings import Layout
from swarm.watch.frame import Frame, Node
from swarm.watch.nodes import NODES_EVERY_S, NodesSeen
from swarm.watch.readings import Readings
from swarm.watch.terminal import NODES_SHOWN, picture
from swarm.watch.web.page import page, sections
from swarm.watch.words import facts_of, slot_note

WORKS = Node("box-1", "working", "NVIDIA L4", 2, 30_000, 46_000, 16, ("t0031",), 0.4, "")
SILENT = Node("box-2", "silent", "NVIDIA L4", 2, 46_000, 46_000, 16, (), 95.0, "")
REFUSED = Node("box-3", "refused", "NVIDIA A100", 1, 1, 2, 8, (), 1.0, "another device class: " + HOSTILE)


def drawn(seen: Frame, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(picture(seen, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def on_nodes() -> FakeStudy:
    """Five runs of the baseline on two nodes of one class."""
    fake = FakeStudy(device_name="nodes")
    for number in range(5):
        trial = fake.baseline()
        where = {"node": f"box-{number % 2 + 1}", "device_class": "NVIDIA L4"}
        fake.write(started(trial, study_id=fake.study.study_id, **where))
        fake.finish(trial)
    return fake


def test_a_terminal_shows_who_is_there_what_it_has_what_it_runs_and_when_it_was_heard() -> None:
    seen = frame(nodes=(WORKS, SILENT, REFUSED), cards=(), device="nodes of NVIDIA L4", slots=(slot(node="box-1"),))
    lines = {line.split()[0]: line for line in drawn(seen).splitlines() if line.strip()}
    for part in ("working", "t0031", "30,000 of 46,000 MiB free", "2 x NVIDIA L4", "16", "0 s ago"):
        assert part in lines["box-1"]
    assert "silent" in lines["box-2"] and "2 min ago" in lines["box-2"]
    assert "refused" in lines["box-3"] and "another device class" in lines["box-3"]
    assert "from run to run, on nodes of NVIDIA L4 alone" in dict(facts_of(seen))["noise"]
    assert slot_note(seen.slots[0]).startswith("(on box-1)")
    assert max(map(len, drawn(seen, 60).splitlines())) <= 60


def test_of_many_nodes_those_are_shown_that_want_a_look() -> None:
    many = tuple(replace(WORKS, name=f"n{number}", runs=()) for number in range(40))
    text = drawn(frame(nodes=(*many, SILENT)))
    assert "box-2" in text and f"and {41 - NODES_SHOWN} more nodes" in text


def test_a_page_shows_them_and_quotes_what_they_say() -> None:
    text = page(frame(nodes=(WORKS, REFUSED)), "token", may_steer=False)
    assert "<h2>Nodes</h2>" in text and "30,000 of 46,000 MiB free" in text and "2 x NVIDIA L4" in text
    assert "<img" not in text
    assert "Nodes" not in sections(frame())["slots"]


def test_the_report_says_for_each_node_what_it_did_and_whether_all_are_alike() -> None:
    fake = on_nodes()
    found = nodes(fake.study)
    assert [row[:4] for row in found.rows] == [("box-1", "NVIDIA L4", "3", "0"), ("box-2", "NVIDIA L4", "2", "0")]
    assert [row[-1] for row in found.rows] == ["3", "2"] and "noise floor is within it" in found.note
    assert dict(integrity(fake.study).rows)["Device class"].endswith("every trial that names it: NVIDIA L4")
    assert dict(ran_on(fake.study).rows)["Device"] == "nodes of NVIDIA L4 (cpu)"
    assert (device_class(fake.study), device_of(fake.study)) == ("NVIDIA L4", "nodes of NVIDIA L4")


def test_trials_of_two_classes_are_said_to_be_mixed() -> None:
    fake = on_nodes()
    trial = fake.baseline()
    fake.write(started(trial, study_id=fake.study.study_id, node="box-9", device_class="NVIDIA A100"))
    assert dict(integrity(fake.study).rows)["Device class"] == "MIXED: trials ran on NVIDIA L4 (5), NVIDIA A100 (1)"


def test_a_study_of_one_machine_has_no_nodes() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    assert nodes(fake.study).rows == () and device_class(fake.study) is None


def test_a_look_asks_the_exchange_of_the_running_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path / "gpu"))
    fake = FakeStudy(device_name="nodes")
    study_id = fake.study.study_id
    layout, clock = Layout(root=tmp_path), FakeClock()
    save_settings(run_settings(tmp_path, study_id=study_id))
    host = ExchangeHost(layout, terms(study_id=study_id), clock)
    host.exchange.submit(order(study_id=study_id))
    ask = host.address.caller()
    ask("beat", beat("box-1").model_dump_json().encode())
    ask("beat", beat("box-1", running()).model_dump_json().encode())
    readings = Readings(layout, clock)
    with only_orchestrator(layout) as reign:
        reign.announce(study_id)
        reading = readings.take(fake.study)
        assert reading.trouble is None
        (node,) = reading.nodes
        assert (node.name, node.state, node.runs, node.free_mib) == ("box-1", "working", ("t0001",), 900)
        assert reading.cards == (), "this machine's own memory says nothing of it"
        host.close()
        clock.sleep(NODES_EVERY_S)
        reading = readings.take(fake.study)
        assert reading.nodes == () and reading.trouble is not None and "nobody answers" in reading.trouble


def test_a_study_without_an_exchange_is_no_error(tmp_path: Path) -> None:
    seen = NodesSeen(FakeClock())
    assert seen.take(Layout(root=tmp_path), STUDY) == () and seen.trouble is not None
