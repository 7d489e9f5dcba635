"""A node and its driver through a real door on loopback; trials follow a script."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from factories.orders import STUDY, beat, facts, order, terms
from fakes.fake_clock import FakeClock
from fakes.scripted_executor import ScriptedExecutor, World

from swarm.clock import SystemClock
from swarm.errors import NodeError, TrialError
from swarm.execution.executor import Outcome, Progress, RunningTrial, TrialOrder
from swarm.nodes import host as host_module
from swarm.nodes.agent import Agent
from swarm.nodes.entry import Entry
from swarm.nodes.host import ExchangeHost, exchange_folder
from swarm.nodes.remote import RemoteExecutor
from swarm.nodes.values import LEASE_S, Beat, Card, NodeFacts
from swarm.records import FailReason
from swarm.study.settings import Layout
from swarm.trial.folder import TrialFolder

CARD = Card(name="CPU\n", total_mib=1000, free_mib=900)


class Driver:
    """The side of the study: an exchange that may be closed and opened again, and a worker's executor."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(root=folder)
        self.clock = FakeClock()
        self.host = self.open()
        self.executor = RemoteExecutor(self.layout, STUDY, SystemClock(), look_every_s=0.0)

    def open(self) -> ExchangeHost:
        self.host = ExchangeHost(self.layout, terms(), self.clock)
        return self.host


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    opened = Driver(tmp_path)
    yield opened
    opened.host.close()


class Node:
    """An agent whose beats come at each step; the clock stands still but for that."""

    def __init__(self, driver: Driver, folder: Path, name: str, world: World | None = None) -> None:
        self.world = world or World()
        self.executor = ScriptedExecutor(self.world)
        self.clock = FakeClock()
        note = folder / f"{name}.json"
        address = driver.host.address
        self.agent = Agent(address.caller(), self.executor, lambda: facts(name), note, self.clock)

    def step(self) -> None:
        self.clock.sleep(10.0)
        self.agent.step()


def follow(running: RunningTrial, *nodes: Node, until: Callable[[Progress], bool] = lambda now: False) -> Outcome:
    for _ in range(200):
        now = running.poll()
        if isinstance(now, Outcome):
            return now
        if until(now):
            return Outcome()
        for node in nodes:
            node.step()
    raise AssertionError(now)


def is_running(now: Progress) -> bool:
    return now.state == "running"


def test_an_order_runs_on_a_node_and_its_losses_come_home(driver: Driver, tmp_path: Path) -> None:
    node = Node(driver, tmp_path, "a")
    outcome = follow(driver.executor.submit(order()), node)
    assert outcome.score is not None and outcome.started is not None and outcome.started.node == "a"
    assert node.executor.orders == [order()]
    assert driver.executor.losses("t0001") == [2.0] * 10
    assert np.load(TrialFolder(driver.layout.trials(STUDY) / "t0001").losses).tolist() == [2.0] * 10
    node.step()
    assert node.agent.holds == ()
    driver.executor.drop_weights("t0001")
    node.step()
    assert node.world.weights == set()


def test_without_a_node_a_trial_waits_and_says_why(driver: Driver, tmp_path: Path) -> None:
    now = driver.executor.submit(order()).poll()
    assert isinstance(now, Progress) and (now.state, now.why) == ("waiting", "no node is there")
    refused = Node(driver, tmp_path, "a")
    refused.agent._facts = lambda: facts("a", data_sha256="other")
    refused.step()
    now = driver.executor.submit(order()).poll()
    assert isinstance(now, Progress) and "a is refused: another data" in now.why


def test_a_node_that_is_frozen_loses_its_trial_to_another_and_kills_what_it_has(driver: Driver, tmp_path: Path) -> None:
    a, b = Node(driver, tmp_path, "a"), Node(driver, tmp_path, "b")
    running = driver.executor.submit(order(files={"train.py": b"hangs"}))
    follow(running, a, until=is_running)
    driver.clock.sleep(2 * LEASE_S)
    follow(running, b, until=lambda now: is_running(now) and now.started is not None and now.started.node == "b")
    a.step()
    assert a.agent.holds == () and isinstance(a.world.trials["t0001"].poll(), Outcome), "its processes are dead"
    running.stop("stopped by the user")
    outcome = follow(running, a, b)
    assert outcome.started is not None and outcome.started.node == "b" and outcome.detail == "stopped by the user"


def test_an_agent_that_died_is_followed_by_one_that_goes_on_with_its_trials(driver: Driver, tmp_path: Path) -> None:
    world = World()
    first = Node(driver, tmp_path, "a", world)
    running = driver.executor.submit(order())
    follow(running, first, until=is_running)
    second = Node(driver, tmp_path, "a", world)
    outcome = follow(running, second)
    assert outcome.score is not None and second.executor.orders == [], "adopted, not begun anew"


def test_what_an_agent_cannot_save_begins_anew(driver: Driver, tmp_path: Path) -> None:
    running = driver.executor.submit(order())
    follow(running, Node(driver, tmp_path, "a"), until=is_running)
    again = Node(driver, tmp_path, "a")  # its disk is empty
    assert follow(running, again).score is not None and len(again.executor.orders) == 1


def test_a_driver_that_restarts_finds_what_its_nodes_have_run_meanwhile(driver: Driver, tmp_path: Path) -> None:
    node = Node(driver, tmp_path, "a")
    driver.executor.submit(order())
    for _ in range(3):
        node.step()
    driver.host.close()
    for _ in range(10):
        node.step()  # nobody answers; the trial ends
    assert node.agent.silent_s > 0 and node.agent.holds == ("t0001",)
    driver.open()
    adopted = RemoteExecutor(driver.layout, STUDY, SystemClock(), look_every_s=0.0).adopt("t0001")
    assert adopted is not None
    outcome = follow(adopted, node)
    assert outcome.score is not None and len(node.executor.orders) == 1, "nothing ran twice"
    assert driver.executor.adopt("t0002") is None


def test_a_node_that_is_taken_away_gives_back_what_it_has(driver: Driver, tmp_path: Path) -> None:
    a, b = Node(driver, tmp_path, "a"), Node(driver, tmp_path, "b")
    running = driver.executor.submit(order(files={"train.py": b"hangs"}))
    follow(running, a, until=is_running)
    a.agent.drain()
    assert a.agent.holds == () and isinstance(a.world.trials["t0001"].poll(), Outcome), "nothing runs any more"
    entry = driver.host.exchange.entry("t0001")
    assert entry is not None and (entry.state, entry.lost) == ("waiting", 0)
    follow(running, b, until=is_running)
    a.step()
    assert a.agent.holds == (), "and it takes nothing more"


def test_the_end_of_a_study_ends_its_agents(driver: Driver, tmp_path: Path) -> None:
    node = Node(driver, tmp_path, "a")
    running = driver.executor.submit(order(files={"train.py": b"hangs"}))
    follow(running, node, until=is_running)
    driver.host.end()
    node.step()
    assert node.agent.ended and node.agent.holds == () and isinstance(node.world.trials["t0001"].poll(), Outcome)


def test_what_a_node_cannot_set_up_is_no_failed_trial(driver: Driver, tmp_path: Path) -> None:
    class Broken(ScriptedExecutor):
        def submit(self, order: TrialOrder) -> "ScriptedTrial":  # type: ignore[name-defined]  # noqa: F821
            raise OSError("no room")

    node = Node(driver, tmp_path, "a")
    node.agent._executor = Broken()
    with pytest.raises(TrialError, match="OSError: no room"):
        follow(driver.executor.submit(order()), node)


def test_a_stop_reaches_a_trial_on_a_node(driver: Driver, tmp_path: Path) -> None:
    node = Node(driver, tmp_path, "a")
    running = driver.executor.submit(order(files={"train.py": b"hangs"}))
    follow(running, node, until=is_running)
    running.stop("pruned at 50 %")
    outcome = follow(running, node)
    assert (outcome.reason, outcome.detail) == (FailReason.PRUNED, "pruned at 50 %")


def test_the_key_is_for_its_owner_alone_and_no_order_is_kept_twice(driver: Driver, tmp_path: Path) -> None:
    folder = exchange_folder(driver.layout, STUDY)
    assert [(folder / name).stat().st_mode & 0o077 for name in ("address.json", "driver.json")] == [0, 0]
    node = Node(driver, tmp_path, "a")
    follow(driver.executor.submit(order()), node)
    assert sorted(path.name for path in folder.iterdir()) == ["address.json", "class", "driver.json", "t0001.json"]
    assert "scores" not in (folder / "t0001.json").read_text(), "of what is over, no program is kept"


def test_the_key_of_nodes_orders_nothing_and_stops_nothing(driver: Driver) -> None:
    """Whoever has got hold of a node can say what he likes of its own trials, and nothing to the other nodes."""
    ask = driver.host.address.caller()
    for name in ("submit", "stop", "leave", "look", "drop_weights", "nodes"):
        with pytest.raises(NodeError, match=f"'{name}' is not for nodes to ask"):
            ask(name, order().model_dump_json().encode())
    assert driver.host.exchange.entry("t0001") is None
    forged = driver.host.address.model_copy(update={"who": "driver"})
    with pytest.raises(NodeError, match="does not have this study's key"):
        forged.caller()("submit", order().model_dump_json().encode())


def test_an_order_that_could_not_be_written_down_is_written_with_the_next_word(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a driver that restarts would give out a number a second time."""
    driver.executor.submit(order(files={"train.py": b"hangs"}))
    node = Node(driver, tmp_path, "a")
    full = [True]
    whole = host_module.write_whole

    def write(path: Path, text: str) -> None:
        if full[0]:
            raise OSError(28, "no space left on device")
        whole(path, text)

    monkeypatch.setattr(host_module, "write_whole", write)
    node.step()
    assert node.agent.holds == () and "nobody answers" in node.agent.refused, "not before it is written down"
    full[0] = False
    node.step()
    written = Entry.model_validate_json((exchange_folder(driver.layout, STUDY) / "t0001.json").read_text())
    assert (written.state, written.issue, node.agent.holds) == ("leased", 1, ("t0001",))


def test_a_study_that_has_trials_of_one_class_takes_no_node_of_another(tmp_path: Path) -> None:
    """Also where those trials ran on the driver itself."""
    host = ExchangeHost(Layout(root=tmp_path), terms(), FakeClock(), device_class="a card")
    try:
        answer = host.address.caller()("beat", beat("a").model_dump_json().encode())
        assert b"another device class: it has some processor, the study a card" in answer
    finally:
        host.close()


def test_what_a_node_says_of_itself_is_short_and_printable() -> None:
    for wrong in ({"name": "a/../b"}, {"name": ""}, {"device_class": "x" * 300}, {"cards": (CARD,) * 65}, {"cores": 0}):
        with pytest.raises(ValueError, match="validation error"):
            facts(**{"name": "a", **wrong})  # type: ignore[arg-type]
    assert facts("a", device_class="a\x1b[31mb\u202e").device_class == "a[31mb"
    assert CARD.name == "CPU"


def test_a_clock_that_jumps_on_a_node_changes_nothing_for_its_trials(driver: Driver, tmp_path: Path) -> None:
    """No moment travels: leases are measured by the driver's own clock."""
    node = Node(driver, tmp_path, "a")
    running = driver.executor.submit(order())
    follow(running, node, until=is_running)
    node.clock.sleep(10_000_000.0)
    assert follow(running, node).score is not None
    assert not {name for name in (*Beat.model_fields, *NodeFacts.model_fields) if name == "at" or "time" in name}
