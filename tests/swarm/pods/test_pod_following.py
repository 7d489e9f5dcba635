"""Stay with a pod to its end: results home first, no paid minute after the grace, whatever goes wrong meanwhile.

Time is the clock's; the pod is a folder that the test writes.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fakes.fake_worker import in_a_child
from fakes.pod_cloud import creates, living, order
from fakes.pod_stage import NAME, Brought, Stage
from fakes.pod_stage import staged as on_stage

from swarm.pods.caps import GRACE_S
from swarm.pods.ending import bring, take_down
from swarm.pods.fake.faults import Fault
from swarm.pods.following import NEVER_STARTED_S
from swarm.pods.means import Means
from swarm.pods.reach import OutOfReach, Reach


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def staged(stages: ExitStack, tmp_path: Path, *faults: Fault) -> Stage:
    return stages.enter_context(on_stage(tmp_path, *faults))


def test_the_files_are_brought_the_results_fetched_and_the_pods_own_end_booked(
    stages: ExitStack, tmp_path: Path
) -> None:
    stage = staged(stages, tmp_path)
    assert stage.follower.turn() is None and (stage.home / "in/study.bundle").read_bytes() == b"files"
    stage.state("running")
    stage.clock.advance(600)
    assert stage.follower.turn() is None and stage.brought == 1
    assert json.loads((stage.home / "collected.json").read_text())["brain_bytes"] == 100
    stage.state("done", why="the study has ended")
    stage.follower.turn()
    stage.desk.pods.terminate(stage.pod_id())  # as its watchdog does, when all is collected
    assert stage.follower.turn() == "it ended itself"
    assert stage.desk.ledger.rentals()[NAME].collected_at is not None
    assert stage.booked() == pytest.approx(0.69 / 6) and stage.booked() >= stage.paid() - 1e-6


def test_records_that_were_refused_are_told_once(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("running")
    stage.follower.means = Means(stage._reach, lambda reach: Brought(refused="3 records of the pod contradict"), None)
    stage.follower.turn()
    stage.follower.turn()
    assert stage.said.count("3 records of the pod contradict") == 1


def test_a_pod_that_does_not_end_itself_is_ended_when_all_is_home(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("done")
    assert stage.to_the_end() == "all is home, and it did not end itself"
    assert living(stage.server) == [] and stage.clock.monotonic() <= 60


def test_nothing_is_paid_after_the_deadline_and_its_grace(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("running")  # and its watchdog is dead
    assert stage.to_the_end(every_s=30) == "its deadline is past"
    assert stage.brought > 100, "what there was came home first"
    stage.clock.advance(10_000)
    assert stage.paid() <= 0.69 * (3600 + GRACE_S) / 3600 and living(stage.server) == []


def test_a_pod_that_never_starts_is_ended(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="pod", what="never_starts"))
    assert stage.to_the_end(every_s=60) == f"it has not started in {NEVER_STARTED_S:g} s"
    assert living(stage.server) == [] and not stage.desk.ledger.open_rentals()


def test_a_pod_that_starts_late_is_waited_for_and_keeps_its_deadline(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="pod", what="late_start", seconds=900))
    for _ in range(100):
        assert stage.follower.turn() is None
        stage.clock.advance(10)
    stage.state("running")
    assert stage.to_the_end(every_s=10) == "its deadline is past"
    assert stage.clock.monotonic() <= 3600 + GRACE_S


def test_a_pod_that_dies_is_started_again_once_for_what_is_on_it(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="pod", what="dies", seconds=100))
    stage.state("running")
    while stage.follower.turn() is None and "starting it again" not in " ".join(stage.said):
        stage.clock.advance(10)
    stage.state("done")
    assert stage.to_the_end() == "all is home, and it did not end itself"
    assert living(stage.server) == [] and stage.desk.ledger.rentals()[NAME].collected_at is not None


def test_a_pod_that_dies_twice_is_left_stopped_and_named(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="pod", what="dies", seconds=100, times=2))
    stage.state("running")
    assert "lies on its disk: swarm pod sync" in stage.to_the_end()
    assert stage.follower.open and living(stage.server) == [] and stage.paid() < 0.1
    stage.state("done")
    assert bring(stage.follower, 5.0) == "all is home, and it did not end itself"
    assert not stage.follower.open


def test_a_pod_that_stopped_past_its_deadline_is_started_for_its_results_and_billed_for_it(
    stages: ExitStack, tmp_path: Path
) -> None:
    """As its watchdog leaves it when nobody has fetched anything: the renter's machine was off all night."""
    stage = staged(stages, tmp_path)
    stage.clock.advance(3600)
    stage.desk.pods.stop(stage.pod_id())
    stage.clock.advance(8 * 3600)
    stage.state("done")
    assert stage.follower.turn() is not None and stage.follower.open
    assert bring(stage.follower, 5.0) == "all is home, and it did not end itself"
    assert stage.desk.ledger.rentals()[NAME].collected_at is not None and living(stage.server) == []
    assert stage.paid() <= stage.booked() + 1e-6 <= 0.69 * (3600 + GRACE_S + 120) / 3600


def test_a_pod_past_its_deadline_that_cannot_be_reached_keeps_its_disk(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.follower.means = Means(lambda pod: None, stage._collect, None)
    assert "could not be reached: stopped" in stage.to_the_end(every_s=30)
    assert stage.server.cloud.pods[stage.pod_id()].status == "EXITED" and stage.follower.open
    assert any("public key" in text for text in stage.said)


def test_a_pod_that_pushed_and_left_is_fetched_from_its_remote(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.follower.means = Means(lambda pod: None, stage._collect, None, pushed=lambda: Brought(records=7))
    stage.follower.turn()
    stage.desk.pods.terminate(stage.pod_id())
    assert stage.follower.turn() is not None
    rental = stage.desk.ledger.rentals()[NAME]
    assert (stage.follower.records, rental.collected_at is not None, rental.ended is not None) == (7, True, True)


def test_a_pod_that_is_gone_is_booked_by_whoever_comes_next(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.desk.pods.terminate(stage.pod_id())
    stage.clock.advance(60)
    assert stage.newcomer().turn() == "it is gone, and its end was not seen"
    assert stage.booked() == pytest.approx(0.69 / 60, abs=1e-5)


def test_a_pod_that_becomes_dearer_than_its_offer_is_ended(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    assert stage.follower.turn() is None
    stage.server.cloud.pods[stage.pod_id()].price = 0.9
    assert stage.follower.turn() == "it costs 0.9 USD/h, more than it was offered for"
    assert living(stage.server) == []


def test_a_stopped_pod_whose_results_are_home_loses_its_disk(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("done")
    stage.follower.turn()
    stage.desk.pods.stop(stage.pod_id())
    assert stage.newcomer().turn() == "all is home"
    assert stage.server.cloud.pods[stage.pod_id()].status == "TERMINATED"


def test_a_provider_that_does_not_answer_is_asked_again(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="list", what="status", times=8), Fault(on="list", what="drop", times=4))
    stage.state("done")
    assert stage.to_the_end() == "all is home, and it did not end itself"
    assert any("No answer" in text for text in stage.said)


def test_a_termination_whose_reply_is_lost_is_asked_again(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path, Fault(on="delete", what="lost_reply"), Fault(on="delete", what="status"))
    stage.state("done")
    stage.to_the_end()
    assert living(stage.server) == []


def test_a_second_pod_of_its_name_is_ended(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.desk.pods.create(order(NAME))
    stage.follower.turn()
    assert living(stage.server) == [stage.pod_id()]


def test_what_fails_on_the_way_home_is_tried_again_and_all_is_not_home_before(
    stages: ExitStack, tmp_path: Path
) -> None:
    stage = staged(stages, tmp_path)
    stage.state("done")
    failures = iter([OutOfReach("the line is cut"), OutOfReach("the line is cut")])

    def collect(reach: Reach) -> Brought:
        for failure in failures:
            raise failure
        return Brought()

    stage.follower.means = Means(stage._reach, collect, None)
    stage.follower.turn()
    assert not (stage.home / "collected.json").exists()
    stage.to_the_end()
    assert stage.desk.ledger.rentals()[NAME].collected_at is not None


def test_a_follower_that_comes_later_goes_on(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("running")
    stage.follower.turn()
    stage.state("done")
    stage.follower = stage.newcomer()
    assert stage.to_the_end() == "all is home, and it did not end itself"


@pytest.mark.parametrize("passage", range(1, 17))
def test_killed_at_any_step_and_started_again_nothing_is_lost(
    passage: int, stages: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(stages, tmp_path)

    def first() -> None:
        os.environ["SWARM_FAILPOINT"] = f"*:kill:{passage}"
        stage.follower = stage.newcomer()
        stage.follower.turn()
        stage.state("running")
        stage.follower.turn()
        stage.state("done")
        stage.to_the_end(every_s=50)

    ended = in_a_child(first)
    assert ended in (0, -signal.SIGKILL)
    assert passage < 16 or ended == 0, "there are more steps than are tried here"
    monkeypatch.delenv("SWARM_FAILPOINT", raising=False)
    stage.state("done")
    stage.follower = stage.newcomer()
    stage.to_the_end()
    rental = stage.desk.ledger.rentals()[NAME]
    assert living(stage.server) == [] and creates(stage.server) == 1
    assert rental.collected_at is not None and rental.ended is not None
    assert stage.booked() >= stage.paid() - 1e-6


def test_a_person_ends_it_in_peace_or_at_once(stages: ExitStack, tmp_path: Path) -> None:
    stage = staged(stages, tmp_path)
    stage.state("running")
    assert take_down(stage.follower, 5.0, now=True) == "a person ended it"
    assert living(stage.server) == [] and stage.brought == 1
    other = Path(tmp_path / "other")
    other.mkdir()
    stage = staged(stages, other)
    stage.state("running")
    assert take_down(stage.follower, 5.0, now=False) == "a person ended it"
    assert (stage.home / "down").exists() and stage.clock.monotonic() == pytest.approx(900, abs=6)
