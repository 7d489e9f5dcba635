"""A target with a command and a grader of its own on a node: its data comes with the order."""

from pathlib import Path

import pytest
from factories.graded import GRADING, HONEST_MSE, graded_executor, graded_order
from factories.orders import STUDY, facts, terms
from factories.settings import run_settings

from swarm.clock import SystemClock
from swarm.errors import NodeError, TrialError
from swarm.execution.executor import Outcome, RunningTrial
from swarm.gpu.device_class import processor
from swarm.nodes import remote
from swarm.nodes.agent import Agent
from swarm.nodes.host import ExchangeHost
from swarm.nodes.remote import RemoteExecutor
from swarm.nodes.serving import serving, terms_of
from swarm.orchestrator.data import OWN
from swarm.study.settings import Layout


def followed(running: RunningTrial, agent: Agent) -> Outcome:
    for _ in range(600):
        now = running.poll()
        if isinstance(now, Outcome):
            return now
        agent.step()
        SystemClock().sleep(0.05)
    raise AssertionError(now)


def test_a_graded_trial_runs_on_a_node_with_the_same_number_as_here(tmp_path: Path) -> None:
    clock = SystemClock()
    (tmp_path / "driver").mkdir()
    (tmp_path / "node").mkdir()
    layout = Layout(root=tmp_path / "driver")
    own = terms(dataset=OWN, data_sha256=OWN, brings_data=True)
    host = ExchangeHost(layout, own, clock)
    try:
        here = lambda: facts("a", data_sha256=OWN, device_class=processor())  # noqa: E731
        executor = graded_executor(tmp_path / "node")
        agent = Agent(host.address.caller(), executor, here, tmp_path / "held.json", clock)
        driver = RemoteExecutor(layout, STUDY, clock, look_every_s=0.0)
        order = graded_order().model_copy(update={"study_id": STUDY})
        outcome = followed(driver.submit(order), agent)
        assert outcome.score is not None, outcome.detail
        assert outcome.score.validation_loss == pytest.approx(HONEST_MSE)
        assert outcome.started is not None and outcome.started.node == "a"
        assert driver.losses(order.trial_id) == executor.losses(order.trial_id)
    finally:
        host.close()


def test_a_node_of_such_a_study_prepares_no_data(tmp_path: Path) -> None:
    asked = terms_of(run_settings(tmp_path, grading=GRADING, dataset=OWN))
    assert (asked.brings_data, asked.data_sha256) == (True, OWN)


def test_what_a_grader_is_told_in_variables_does_not_travel(tmp_path: Path) -> None:
    told = GRADING.model_copy(update={"environment": ("TOY_API_KEY",)})
    settings = run_settings(tmp_path, grading=told, executor="nodes")
    opened = serving(settings, SystemClock(), print)
    with pytest.raises(NodeError, match="TOY_API_KEY, which nodes do not have"), opened:
        pass


def test_a_folder_that_is_too_large_to_travel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BODY_BYTES", 1000)
    driver = RemoteExecutor(Layout(root=tmp_path), STUDY, SystemClock())
    with pytest.raises(TrialError, match="MiB in an order, and nodes take"):
        driver.submit(graded_order())
