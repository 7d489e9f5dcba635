"""What a provider says wrong about a pod that lives, and what two commands at once do to one: nothing is lost, and
nothing is paid twice or for longer."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.git_repository import make_repository
from fakes.pod_cloud import creates, intent, living, offer, order, paper_cloud, renting
from fakes.pod_stage import NAME, Brought, Stage, staged

from swarm.cli import rented
from swarm.errors import PodError
from swarm.pods.caps import GRACE_S
from swarm.pods.ending import bring, take_down
from swarm.pods.fake.faults import Fault
from swarm.pods.following import NEVER_STARTED_S, Follower
from swarm.pods.launching import Launch
from swarm.pods.ledger import Entry, EntryKind, Ledger
from swarm.pods.means import Means
from swarm.pods.provider import Refused
from swarm.pods.reach import Reach
from swarm.pods.reconciling import Standing, reconcile
from swarm.pods.registry import repository_lock
from swarm.pods.renting import begin, end, extras, rent
from swarm.pods.wish import Wish
from swarm.repo import Repo


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


def hide(stage: Stage, seconds: float) -> None:
    stage.server.cloud.pods[stage.pod_id()].hidden_until = stage.clock.now() + seconds


def will(stage: Stage, *faults: Fault) -> None:
    stage.server.cloud.faults._left += [(fault, fault.times) for fault in faults]


def actions(stage: Stage) -> list[object]:
    return [one["body"]["action"] for one in stage.server.requests if str(one["path"]).endswith("/action")]


def test_a_pod_that_a_list_leaves_out_is_not_gone(stage: Stage) -> None:
    stage.state("running")
    for _ in range(3):
        hide(stage, 5)
        assert stage.follower.turn() is None and stage.follower.open
        stage.clock.advance(10)
    assert stage.brought == 3, "it was reached meanwhile"


def test_a_pod_that_is_neither_listed_nor_known_once_is_not_gone(stage: Stage) -> None:
    stage.follower.turn()
    hide(stage, 60)
    will(stage, Fault(on="get", what="status", status=404, times=2))
    assert stage.follower.turn() is None and stage.follower.open


def test_a_new_pod_that_the_provider_shows_late_is_waited_for(stage: Stage) -> None:
    hide(stage, 45)
    will(stage, Fault(on="get", what="status", status=404, times=4))
    assert stage.follower.turn() is None and stage.follower.open


def test_a_pod_that_was_made_since_it_was_listed_is_not_booked_as_ended(stage: Stage) -> None:
    (account,) = reconcile(stage.desk, [])
    assert account.standing is Standing.OPEN and stage.follower.open


def test_a_renter_killed_before_the_answer_finds_its_pod_and_ends_nothing(tmp_path: Path) -> None:
    """A pod that clones by itself may have worked all night: who looks for its results must not take it for a second
    one of its name."""
    user = make_repository(tmp_path / "repo")
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path / "ledger")
        rental = begin(desk, NAME, intent(root=str(user.root), repository="https://example.org/r.git"))
        asked = Entry(at=clock.now(), name=NAME, kind=EntryKind.ASKED, price_usd_h=0.69, deadline_at=clock.now() + 3600)
        desk.ledger.append(asked)
        made = desk.pods.create(order(NAME))
        clock.advance(1800)
        assert extras(desk.pods.list(), rental) == []
        follower = Launch(desk, Repo.open(user.root), rental).follower()
        assert follower.rental.pod_id == made.id and follower.turn() is None
        assert living(server) == [made.id]


def test_a_rental_without_a_pod_is_ended_without_one(stage: Stage) -> None:
    other = "swarm-study-2"
    rental = begin(stage.desk, other, intent())
    assert Follower(stage.desk, rental, stage.follower.means).turn() == "no pod was made"
    assert stage.desk.ledger.rentals()[other].cost_usd(1e9) == 0.0 and len(living(stage.server)) == 1


def test_a_termination_that_finds_no_answer_is_asked_again_at_the_next_turn(stage: Stage) -> None:
    stage.state("running")
    will(stage, Fault(on="delete", what="status", times=8))
    assert stage.to_the_end() == "its deadline is past"
    assert living(stage.server) == [] and stage.clock.monotonic() <= 3600 + GRACE_S


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(on="action", what="status", status=400), "nor be stopped"),  # as with a network volume
        (Fault(on="action", what="status", status=409, times=0), "did not stop"),
    ],
    ids=["refused", "not-done"],
)
def test_a_pod_past_its_deadline_that_cannot_be_stopped_is_ended(stage: Stage, fault: Fault, words: str) -> None:
    stage.follower.means = Means(lambda pod: None, stage._collect, None)
    will(stage, fault)
    assert words in stage.to_the_end(every_s=10)
    assert living(stage.server) == [] and stage.clock.monotonic() <= 3600 + GRACE_S + 15


REFUSES = Fault(on="list", what="status", status=401, times=0)


def test_a_provider_that_refuses_to_list_ends_no_follower_and_is_asked_seldom(stage: Stage) -> None:
    stage.state("running")
    stage.follower.turn()
    will(stage, Fault(on="list", what="status", status=401, times=2))
    begun = len(stage.server.requests)
    for _ in range(12):
        assert stage.follower.turn() is None
        stage.clock.advance(10)
    assert len(stage.server.requests) - begun == 2 and stage.brought == 13, "what it has comes home meanwhile"
    assert any("asked again every 60 s" in text for text in stage.said)
    stage.state("done")
    assert stage.to_the_end() == "all is home, and it did not end itself"


@pytest.mark.parametrize("reached", [True, False])
def test_a_provider_that_refuses_to_list_puts_no_deadline_off(stage: Stage, reached: bool) -> None:
    stage.state("running")
    if not reached:
        stage.follower.means = Means(lambda pod: None, stage._collect, None)
    stage.follower.turn()
    will(stage, REFUSES)
    while stage.clock.monotonic() < 4000:
        assert stage.follower.turn() is None
        stage.clock.advance(10)
    assert living(stage.server) == [] and stage.paid() <= 0.69 * (3600 + GRACE_S) / 3600
    assert stage.server.cloud.pods[stage.pod_id()].status == ("TERMINATED" if reached else "EXITED"), "its disk is kept"
    stage.server.cloud.faults._left.clear()
    stage.clock.advance(60)
    assert stage.follower.turn() is not None


def test_one_that_may_neither_be_listed_nor_stopped_is_ended(stage: Stage) -> None:
    stage.follower.means = Means(lambda pod: None, stage._collect, None)
    stage.follower.turn()
    refused = Fault(on="action", what="status", status=403, times=0)
    stage.server.cloud.faults._left += [(REFUSES, 0), (refused, 0)]
    stage.clock.advance(3700)
    assert stage.follower.turn() is None and living(stage.server) == []
    assert any("cannot be ended from here" in text for text in stage.said)


def test_a_person_who_waits_is_told_what_the_provider_refuses(stage: Stage) -> None:
    for command in (lambda: bring(stage.follower, 1.0), lambda: take_down(stage.newcomer(), 1.0, now=True)):
        will(stage, Fault(on="list", what="status", status=401))
        with pytest.raises(Refused, match="401"):
            command()
    assert len(living(stage.server)) == 1


def test_a_pod_that_failed_and_answers_nobody_is_not_paid_until_its_deadline(stage: Stage) -> None:
    stage.follower.means = Means(lambda pod: None, stage._collect, None)
    stage.follower.turn()
    stage.server.cloud.pods[stage.pod_id()].status = "ERROR"
    assert "it has failed" in stage.to_the_end(every_s=60)
    assert stage.clock.monotonic() <= NEVER_STARTED_S + 120
    assert stage.server.cloud.pods[stage.pod_id()].status == "TERMINATED"


def test_a_disk_that_is_full_here_ends_no_follower(stage: Stage) -> None:
    stage.state("done")
    full = iter([OSError(errno.ENOSPC, "No space left on device")] * 3)

    def collect(reach: Reach) -> Brought:
        for failure in full:
            raise failure
        return Brought()

    stage.follower.means = Means(stage._reach, collect, None)
    assert stage.to_the_end() == "all is home, and it did not end itself"
    assert stage.desk.ledger.rentals()[NAME].collected_at is not None


def test_bringing_home_that_takes_long_puts_no_deadline_off(stage: Stage) -> None:
    stage.state("running")
    stage.clock.advance(3590)

    def collect(reach: Reach) -> Brought:
        stage.clock.advance(90)
        return Brought()

    stage.follower.means = Means(stage._reach, collect, None)
    assert stage.follower.turn() == "its deadline is past"
    assert stage.clock.monotonic() <= 3600 + GRACE_S


def test_a_pod_that_a_person_has_stopped_is_not_started_by_who_follows(stage: Stage) -> None:
    stage.state("running")
    stage.follower.turn()
    stage.desk.note(NAME, EntryKind.STOPPED)
    stage.desk.pods.stop(stage.pod_id())
    assert "a person stopped it" in str(stage.follower.turn())
    assert actions(stage) == ["stop"] and stage.follower.open
    stage.desk.note(NAME, EntryKind.STARTED)  # `swarm pod up` again
    assert stage.newcomer().turn() is None
    assert actions(stage) == ["stop", "start"]


def test_two_commands_at_once_in_one_repository_rent_one_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_repository(tmp_path / "repo")
    monkeypatch.setenv("SWARM_PODS_DIR", str(tmp_path / "pods"))
    ledger = Ledger(tmp_path / "pods")
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path / "pods")
        monkeypatch.setattr(rented, "opened", lambda *_: desk.pods)
        monkeypatch.setattr(rented, "_follow", lambda *_, **__: 0)
        root = Repo.open(user.root).root
        with ledger.alone(repository_lock(root)), pytest.raises(PodError, match="held by another swarm process"):
            wish = Wish(cards=("NVIDIA GeForce RTX 4090",), hours=0.5, max_usd=1.0)
            rented.up_and_follow(wish, user.root, yes=True, as_json=False)
        assert creates(server) == 0 and not ledger.rentals()


def test_what_was_wanted_and_never_asked_for_does_not_stand_in_the_way(tmp_path: Path) -> None:
    user = make_repository(tmp_path / "repo")
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, tmp_path / "pods")
        repo = Repo.open(user.root)
        old = begin(desk, NAME, intent(root=str(repo.root), commit="0" * 40))
        now = Wish(cards=("NVIDIA GeForce RTX 4090",), hours=0.5, max_usd=1.0).intent(repo)
        launch = rented._wanted(desk, repo, now, yes=True)
        assert launch.rental.name != old.name and creates(server) == 1
        assert [one.name for one in desk.ledger.open_rentals()] == [launch.rental.name]


def test_one_that_is_booked_as_ended_and_shows_up_is_named(stage: Stage) -> None:
    end(stage.desk, NAME, "its provider did not know it", None)
    assert [one.standing for one in reconcile(stage.desk, stage.desk.pods.list())] == [Standing.ORPHAN]


def test_a_second_rental_takes_no_pod_of_the_first(stage: Stage) -> None:
    other = "swarm-study-2"
    rental = begin(stage.desk, other, intent())
    made = rent(stage.desk, rental, (offer(),), lambda wanted, _: order(other, wanted.card))
    assert made.id != stage.pod_id() and stage.follower.turn() is None and len(living(stage.server)) == 2
