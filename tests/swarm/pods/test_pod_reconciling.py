"""The third guard: whatever the provider has, each pod of ours is known, ended or named with its cost."""

from pathlib import Path

import pytest
from fakes.fake_clock import FakeClock
from fakes.pod_cloud import CARD, intent, living, offer, order, paper_cloud, renting

from swarm.pods.fake.faults import Fault
from swarm.pods.fake.server import FakeServer
from swarm.pods.reconciling import Account, Standing, reconcile
from swarm.pods.renting import Renting, begin, end, rent

NAME = "swarm-study-1"


def desk_with_a_pod(server: FakeServer, clock: FakeClock, root: Path) -> Renting:
    desk = renting(server, clock, root)
    rent(desk, begin(desk, NAME, intent()), (offer(),), lambda wanted, _: order(NAME, wanted.card))
    return desk


def looked(desk: Renting) -> list[Account]:
    return reconcile(desk, desk.pods.list())


def test_a_pod_in_its_time_needs_nobody(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        clock.advance(1800)
        (account,) = looked(desk)
        assert (account.standing, account.needs_a_person) == (Standing.OPEN, False)
        assert account.cost_usd == pytest.approx(0.345)


def test_a_pod_past_its_deadline_is_named_with_its_cost(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        clock.advance(3600 + 119)
        assert looked(desk)[0].standing is Standing.OPEN
        clock.advance(2)
        (account,) = looked(desk)
        assert account.standing is Standing.OVERDUE
        assert account.line() == f"{NAME}: overdue, 0.7132 USD so far, 0.69 USD/h. End it: swarm pod down {NAME}"


def test_a_pod_that_no_ledger_here_knows_is_an_orphan(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path)
        server.cloud.create({"name": "swarm-of-another-machine", "gpu": {"id": CARD}}, 0.5)
        server.cloud.create({"name": "somebody-elses", "gpu": {"id": CARD}}, 0.5)
        clock.advance(7200)
        (account,) = looked(desk)
        assert (account.name, account.standing, account.cost_usd) == (
            "swarm-of-another-machine",
            Standing.ORPHAN,
            pytest.approx(1.0),
        )
        assert len(living(server)) == 2, "it is named and not ended"


def test_a_pod_that_is_booked_as_ended_and_is_still_there_is_an_orphan(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        end(desk, NAME, "by mistake", None)
        assert [account.standing for account in looked(desk)] == [Standing.ORPHAN]


def test_a_pod_that_is_gone_is_booked_and_at_most_to_its_deadline(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        desk.pods.terminate(living(server)[0])
        clock.advance(100 * 3600)
        assert looked(desk) == []
        ended = desk.ledger.rentals()[NAME].ended
        assert ended is not None and ended.cost_usd == pytest.approx(0.69 * 3720 / 3600, abs=1e-5)


def test_a_stopped_pod_is_named_since_its_disk_costs(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        desk.pods.stop(living(server)[0])
        assert [account.standing for account in looked(desk)] == [Standing.STOPPED]


def test_a_request_without_an_answer_is_named(tmp_path: Path) -> None:
    faults = (Fault(on="create", what="drop"), Fault(on="list", what="status", times=4))
    with paper_cloud(*faults) as (server, clock):
        desk = renting(server, clock, tmp_path)
        with pytest.raises(Exception, match="did not answer"):
            rent(desk, begin(desk, NAME, intent()), (offer(),), lambda wanted, _: order(NAME, wanted.card))
        (account,) = looked(desk)
        assert account.standing is Standing.UNSURE and account.needs_a_person


def test_a_second_pod_of_one_name_is_ended(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        own = living(server)
        desk.pods.create(order(NAME))
        assert [account.standing for account in looked(desk)] == [Standing.OPEN]
        assert living(server) == own


def test_a_server_whose_clock_differs_makes_no_cost_negative(tmp_path: Path) -> None:
    with paper_cloud(Fault(on="clock", what="differs", seconds=7200)) as (server, clock):
        desk = desk_with_a_pod(server, clock, tmp_path)
        server.cloud.create({"name": "swarm-other", "gpu": {"id": CARD}}, 0.5)
        clock.advance(60)
        costs = {account.name: account.cost_usd for account in looked(desk)}
        assert costs == {NAME: pytest.approx(0.69 / 60), "swarm-other": 0.0}
