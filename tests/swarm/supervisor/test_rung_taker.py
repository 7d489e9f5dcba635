"""What a training leaves at its rungs is taken once, in order, as it was when it appeared."""

from pathlib import Path

import pytest

from swarm.supervisor.rungs import RungTaker
from swarm.trial.folder import TrialFolder


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    made = TrialFolder(tmp_path / "t0001")
    made.make()
    made.train_out.mkdir(exist_ok=True)
    made.private.mkdir(exist_ok=True)
    return made


def test_each_is_taken_once_and_what_is_written_later_is_read_by_nobody(folder: TrialFolder) -> None:
    taker = RungTaker(folder, [50, 25])
    folder.rung_logits(25).write_bytes(b"first")
    for moment in (1.0, 2.0):
        taker.look(moment, moment)
    folder.rung_logits(25).write_bytes(b"a better one")
    taker.look(3.0, 3.0)
    assert folder.taken_rung(25).read_bytes() == b"first"
    assert taker.taken == [(25, 1.0, 1.0)]


def test_a_later_rung_waits_for_the_earlier_one(folder: TrialFolder) -> None:
    taker = RungTaker(folder, [25, 50])
    folder.rung_logits(50).write_bytes(b"early")
    taker.look(1.0, 1.0)
    assert taker.taken == [] and not folder.taken_rung(50).exists()


def test_a_link_is_lost_and_the_next_rung_still_counts(folder: TrialFolder) -> None:
    taker = RungTaker(folder, [25, 50])
    folder.rung_logits(25).symlink_to("/etc/hostname")
    folder.rung_logits(50).write_bytes(b"second")
    taker.look(1.0, 1.0)
    taker.look(2.0, 2.0)
    assert taker.taken == [(50, 2.0, 2.0)] and not folder.taken_rung(25).exists()
