"""Never two pods, and never one that the ledger does not know: each fault of a create, and a death at each step."""

import os
import signal
from pathlib import Path

import pytest
from fakes.fake_clock import FakeClock
from fakes.fake_worker import in_a_child
from fakes.pod_cloud import CARD, OTHER, creates, intent, living, offer, order, paper_cloud, renting

from swarm.errors import PodError
from swarm.pods.fake.faults import Fault
from swarm.pods.ledger import Ledger
from swarm.pods.provider import NoCapacity, Offer, PaymentRequired, Pod, PodOrder, Refused, ReplyLost, Unreachable
from swarm.pods.renting import Renting, begin, extras, rent, unique_name

NAME = "swarm-study-1"


def order_of(wanted: Offer, deadline_at: float) -> PodOrder:
    return order(NAME, wanted.card)


def rented(desk: Renting, *offers: Offer) -> Pod:
    known = desk.ledger.rentals().get(NAME)
    rental = known if known is not None else begin(desk, NAME, intent(cards=(CARD, OTHER)))
    return rent(desk, rental, offers or (offer(),), order_of)


def test_a_pod_is_rented_and_written_down_before_and_after(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        pod = rented(renting(server, clock, tmp_path))
        assert living(server) == [pod.id]
    kinds = [entry.kind for entry in Ledger(tmp_path).rentals()[NAME].lines]
    assert kinds == ["intent", "asked", "made"]
    rental = Ledger(tmp_path).rentals()[NAME]
    assert (rental.pod_id, rental.price_usd_h, rental.deadline_at) == (pod.id, 0.69, 1_000_000.0 + 3600)


def test_the_ledger_is_written_before_the_request(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path)
        rental = begin(desk, NAME, intent())
        desk.ledger.path.chmod(0o400)
        desk.ledger.path.unlink()
        desk.ledger.path.mkdir()  # nothing can be written there
        with pytest.raises((PodError, OSError)):
            rent(desk, rental, (offer(),), order_of)
        assert creates(server) == 0


def test_the_next_card_is_tried_where_one_is_not_there_or_not_ours(tmp_path: Path) -> None:
    for fault in (Fault(on="create", what="no_capacity", card=CARD), Fault(on="create", what="status", status=403)):
        said: list[str] = []
        with paper_cloud(fault) as (server, clock):
            pod = rented(renting(server, clock, tmp_path / fault.what, said), offer(), offer(OTHER, 0.46))
            assert (pod.card, len(living(server))) == (OTHER, 1) and len(said) == 1


@pytest.mark.parametrize(
    ("fault", "error", "asked"),
    [
        (Fault(on="create", what="no_capacity", times=0), NoCapacity, 2),
        (Fault(on="create", what="status", status=402), PaymentRequired, 1),
        (Fault(on="create", what="status", status=422), Refused, 1),
        (Fault(on="create", what="status", status=401), Refused, 1),
        (Fault(on="create", what="status", status=429, retry_after="900"), Unreachable, 1),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_what_surely_made_nothing_ends_the_rental_and_costs_nothing(
    fault: Fault, error: type[PodError], asked: int, tmp_path: Path
) -> None:
    with paper_cloud(fault) as (server, clock):
        with pytest.raises(error):
            rented(renting(server, clock, tmp_path), offer(), offer(OTHER, 0.46))
        clock.advance(3600)
        rental = Ledger(tmp_path).rentals()[NAME]
        assert rental.ended is not None
        assert (creates(server), rental.cost_usd(clock.now()), living(server)) == (asked, 0.0, [])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="create", what="lost_reply"),
        Fault(on="create", what="late_reply", seconds=0.5),
        Fault(on="create", what="done_status", status=502),
        Fault(on="create", what="done_status", status=500),
    ],
    ids=lambda fault: f"{fault.what}{fault.status}",
)
def test_a_lost_reply_makes_no_second_pod(fault: Fault, tmp_path: Path) -> None:
    with paper_cloud(fault) as (server, clock):
        desk = renting(server, clock, tmp_path)
        desk.pods._client.timeout = 0.3
        pod = rented(desk)
        assert (creates(server), living(server)) == (1, [pod.id])
        assert Ledger(tmp_path).rentals()[NAME].pod_id == pod.id


def test_a_pod_that_is_listed_late_is_waited_for(tmp_path: Path) -> None:
    faults = (Fault(on="create", what="lost_reply"), Fault(on="create", what="hidden", seconds=10))
    with paper_cloud(*reversed(faults)) as (server, clock):
        pod = rented(renting(server, clock, tmp_path))
        assert (creates(server), living(server)) == (1, [pod.id]) and clock.monotonic() >= 10


def test_a_request_that_was_lost_before_it_did_anything_is_sent_again(tmp_path: Path) -> None:
    with paper_cloud(Fault(on="create", what="drop")) as (server, clock):
        pod = rented(renting(server, clock, tmp_path))
        assert (creates(server), living(server)) == (2, [pod.id])


def test_replies_that_are_lost_again_and_again_end_it(tmp_path: Path) -> None:
    with paper_cloud(Fault(on="create", what="drop", times=0)) as (server, clock):
        with pytest.raises(ReplyLost, match="2 replies in a row"):
            rented(renting(server, clock, tmp_path))
        assert creates(server) == 2 and Ledger(tmp_path).rentals()[NAME].ended is not None


def test_a_provider_that_goes_silent_after_a_lost_reply_leaves_the_rental_open(tmp_path: Path) -> None:
    faults = (Fault(on="create", what="lost_reply"), Fault(on="list", what="status", times=4))
    with paper_cloud(*faults) as (server, clock):
        desk = renting(server, clock, tmp_path)
        with pytest.raises(Unreachable):
            rented(desk)
        rental = Ledger(tmp_path).rentals()[NAME]
        assert rental.may_exist and rental.cost_usd(clock.now() + 3600) > 0.6
        pod = rented(desk)  # the same command, later
        assert (creates(server), living(server)) == (1, [pod.id])


def test_a_pod_that_shows_up_after_a_second_was_made_is_found(tmp_path: Path) -> None:
    faults = (Fault(on="create", what="hidden", seconds=300), Fault(on="create", what="lost_reply"))
    with paper_cloud(*faults) as (server, clock):
        desk = renting(server, clock, tmp_path)
        pod = rented(desk)
        assert creates(server) == 2
        clock.advance(300)
        late = extras(desk.pods.list(), desk.ledger.rentals()[NAME])
        assert [one.id for one in late] == [other for other in living(server) if other != pod.id]
        assert len(late) == 1


def test_a_price_that_is_higher_than_the_offer_ends_the_pod_at_once(tmp_path: Path) -> None:
    with paper_cloud() as (server, clock):
        with pytest.raises(Refused, match=r"more than the 0\.5 of the catalogue, and was ended"):
            rented(renting(server, clock, tmp_path), offer(price=0.5))
        assert living(server) == []


def test_a_dearer_pod_is_ended_also_when_it_was_found_in_the_list(tmp_path: Path) -> None:
    with paper_cloud(Fault(on="create", what="lost_reply")) as (server, clock):
        with pytest.raises(Refused, match="and was ended"):
            rented(renting(server, clock, tmp_path), offer(price=0.5))
        assert living(server) == []


def test_a_rental_that_has_ended_is_not_taken_up_again(tmp_path: Path) -> None:
    with paper_cloud(Fault(on="create", what="status", status=402)) as (server, clock):
        desk = renting(server, clock, tmp_path)
        with pytest.raises(PaymentRequired):
            rented(desk)
        with pytest.raises(PodError, match="has ended"):
            rented(desk)
        assert creates(server) == 1


@pytest.mark.parametrize("passage", range(1, 10))
@pytest.mark.parametrize("fault", [None, Fault(on="create", what="lost_reply")], ids=["well", "lost"])
def test_killed_at_any_step_and_started_again_there_is_one_pod(
    passage: int, fault: Fault | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the process that rents: before and after each line of the ledger and the request."""
    with paper_cloud(*([fault] if fault else [])) as (server, clock):

        def once() -> None:
            os.environ["SWARM_FAILPOINT"] = f"*:kill:{passage}"
            rented(renting(server, FakeClock(), tmp_path))

        ended = in_a_child(once)
        assert ended in (0, -signal.SIGKILL)
        monkeypatch.delenv("SWARM_FAILPOINT", raising=False)
        pod = rented(renting(server, clock, tmp_path))
        assert living(server) == [pod.id]
        assert Ledger(tmp_path).rentals()[NAME].pod_id == pod.id
        assert passage < 9 or ended == 0, "there are more steps than are tried here"


def test_names_are_unique_and_say_whose(tmp_path: Path) -> None:
    folder = tmp_path / "My Study!"
    names = {unique_name(folder, 1_700_000_000.0) for _ in range(50)}
    assert len(names) > 45 and all(name.startswith("swarm-my-study-231114-221320-") for name in names)
