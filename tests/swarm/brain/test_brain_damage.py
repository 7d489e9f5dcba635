"""Files that were cut, scribbled on, exchanged: nothing that was acknowledged is lost, nothing raises by surprise."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes.every_exception import every_exception, raising
from fakes.failing_disk import UnsyncedDisk
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.brain import GENESIS, BadLine, Brain, read_records, verify
from swarm.errors import BrainError, BrainReplaced
from swarm.records import MAX_LINE_BYTES, Note

GOOD = b'{"agent_id":"w","validation_loss":1.5,"description":"d"}'


def note(detail: str = "") -> Note:
    return Note(study_id="s", detail=detail)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarm_brain.jsonl"


@pytest.mark.parametrize("earlier", [0, 2])
def test_a_record_torn_at_any_byte_is_set_aside_and_the_next_append_succeeds(path: Path, earlier: int) -> None:
    disk = UnsyncedDisk()
    Brain(path, disk=disk).append(*(note(f"earlier {index}") for index in range(earlier)))
    intact = path.read_bytes()
    Brain(path, disk=disk).append(note("größer"))
    whole = path.read_bytes()
    torn_file = path.with_suffix(".torn")
    for cut in range(len(intact) + 1, len(whole)):
        torn_file.unlink(missing_ok=True)
        path.write_bytes(whole[:cut])
        assert Brain(path).snapshot().seq == earlier
        brain = Brain(path, disk=disk)
        [record] = brain.append(note("next"))
        assert record.seq == earlier + 1
        assert brain.skipped == ()
        assert path.read_bytes().startswith(intact)
        assert torn_file.read_bytes() == whole[len(intact) : cut] + b"\n"
    assert verify(path).ok


def test_a_last_line_that_is_being_written_is_not_yet_there(path: Path) -> None:
    Brain(path).append(note(), note())
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    reader = Brain(path)
    assert reader.snapshot().seq == 1
    with path.open("ab") as file:
        file.write(whole[-10:])
    assert reader.snapshot().seq == 2
    assert reader.skipped == ()


BAD_LINES = {
    "byte-order mark": b"\xef\xbb\xbf" + GOOD,
    "NUL": b"\x00" * 40,
    "NUL inside": GOOD.replace(b"d", b"\x00"),
    "lone surrogate": GOOD.replace(b'"d"', b'"\\ud800"'),
    "latin-1": GOOD.replace(b'"d"', b'"\xe9"'),
    "10 MB": b'{"agent_id":"' + b"x" * 10_000_000 + b'"}',
    "NaN": GOOD.replace(b"1.5", b"NaN"),
    "infinity": GOOD.replace(b"1.5", b"-Infinity"),
    "overflow": GOOD.replace(b"1.5", b"1e999"),
    "overflow, spaced": GOOD.replace(b"1.5", b" 1.0E+999"),
    "overflow, many digits": GOOD.replace(b"1.5", b"1" * 400 + b".0"),
    "deep": b"[" * 30_000,
    "deep, and closed": GOOD.replace(b"1.5", b"[" * 5_000 + b"]" * 5_000),
    "deep objects of an unknown kind": GOOD.replace(
        b"{", b'{"kind":"new","x":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_000 + b",", 1
    ),
    "more digits than Python reads": GOOD.replace(b"1.5", b"1" * 6_000),
    "an integer that is no float": GOOD.replace(b"1.5", b"1" * 400),
    "merge conflict": b"<<<<<<< HEAD",
    "blank": b"",
    "no object": b"17",
    "half": GOOD[:30],
    "ill-typed": GOOD.replace(b"1.5", b'"low"'),
    "ill-typed known kind": GOOD.replace(b"{", b'{"kind":"verdict",'),
    "no such state": GOOD.replace(b"{", b'{"kind":"trial_finished","trial_id":"t0001","seed":1,"state":"complete",'),
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_skipped_counted_and_shown(path: Path, bad: bytes) -> None:
    Brain(path).append(note("before"))
    with path.open("ab") as file:
        file.write(bad + b"\n")
    brain = Brain(path)
    [record] = brain.append(note("after"))
    assert record.seq == 3
    [skipped] = brain.skipped
    assert skipped.line == 2
    assert skipped.reason
    assert "\n" not in skipped.reason
    report = verify(path)
    assert report.broken == ()  # the chain runs over the raw bytes of the bad line
    assert report.first_bad == skipped


def test_a_text_may_say_infinity(path: Path) -> None:
    [record] = Brain(path).append(note("-Infinity, NaN and 1e999"))
    assert list(read_records(path)) == [record]


def test_a_byte_order_mark_is_named_since_nobody_sees_it(path: Path) -> None:
    path.write_bytes(BAD_LINES["byte-order mark"] + b"\n")
    assert "byte-order mark" in str(verify(path))


def test_a_line_at_the_limit_is_read_and_one_byte_more_is_not(path: Path) -> None:
    for size, count in ((MAX_LINE_BYTES, 1), (MAX_LINE_BYTES + 1, 0)):
        padding = size - len(GOOD) - 1
        path.write_bytes(GOOD + b" " * padding + b"\n")
        assert len(list(read_records(path))) == count


@settings(max_examples=60, deadline=None)
@given(garbage=st.lists(st.binary(max_size=60), min_size=4, max_size=4))
def test_garbage_between_good_lines_costs_only_itself(garbage: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "swarm_brain.jsonl"
        Brain(path, disk=UnsyncedDisk()).append(note("1"), note("2"), note("3"))
        good = path.read_bytes().splitlines()
        mixed = [part for pair in zip(garbage, [*good, b""], strict=True) for part in pair]
        path.write_bytes(b"\n".join(mixed[:-1]))
        reader = Brain(path)
        reader.snapshot()
        found = [record.detail for record in read_records(path) if isinstance(record, Note)]
        assert found == ["1", "2", "3"]
        complete = path.read_bytes().count(b"\n")
        assert len(reader.skipped) == complete - 3
        [after] = Brain(path, disk=UnsyncedDisk()).append(note("4"))
        assert after.seq == complete + 1


def replace(path: Path) -> None:
    other = path.with_name("other")
    Brain(other).append(note("another"), note("study"))
    other.replace(path)


def delete(path: Path) -> None:
    path.unlink()


def delete_and_recreate(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"one", b"won") + GOOD + b"\n")


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (replace, "was replaced"),
        (delete, "was deleted"),
        (delete_and_recreate, "was replaced|shrank"),  # the new file may get the inode of the old one
        (shrink, r"shrank from \d+ to \d+ bytes"),
        (rewrite, "was rewritten"),
    ],
)
def test_a_file_that_is_exchanged_in_use_stops_reader_and_writer(
    path: Path, harm: Callable[[Path], None], named: str
) -> None:
    brain = Brain(path)
    brain.append(note("one"))
    harm(path)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(BrainReplaced, match=rf"({named}).*Stop the swarm"):
        brain.snapshot()
    with pytest.raises(BrainReplaced):
        brain.append(note("two"))
    assert (path.read_bytes() if path.exists() else None) == left


def test_the_same_lines_in_another_file_are_the_same_brain(path: Path) -> None:
    """As after `cp` and `mv`, or when a brain was put back."""
    brain = Brain(path)
    brain.append(note("one"))
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    [record] = brain.append(note("two"))
    assert record.seq == 2
    assert verify(path).ok


def test_an_append_to_a_file_that_is_exchanged_meanwhile_is_not_acknowledged(path: Path) -> None:
    class Exchanged(UnsyncedDisk):
        def write(self, fd: int, data: bytes) -> int:
            other = path.with_name("other")
            other.write_bytes(path.read_bytes())
            other.replace(path)
            return super().write(fd, data)

    Brain(path).append(note("one"))
    with pytest.raises(BrainReplaced, match="during an append"):
        Brain(path, disk=Exchanged()).append(note("two"))


def test_verify_names_a_line_that_was_changed(path: Path) -> None:
    Brain(path).append(*(note(str(index)) for index in range(5)))
    lines = path.read_bytes().splitlines()
    lines[2] = lines[2].replace(b'"detail":"2"', b'"detail":"9"')
    path.write_bytes(b"\n".join(lines) + b"\n")
    report = verify(path)
    assert report.first_bad is not None
    assert report.first_bad.line == 3
    assert "SHA-256 is not the prev of line 4" in report.first_bad.reason
    assert "the first is line 3" in str(report)


@pytest.mark.parametrize(("removed", "named"), [(0, 1), (2, 3)])
def test_verify_names_the_place_of_a_line_that_was_removed(path: Path, removed: int, named: int) -> None:
    Brain(path).append(*(note(str(index)) for index in range(5)))
    lines = path.read_bytes().splitlines()
    del lines[removed]
    path.write_bytes(b"\n".join(lines) + b"\n")
    report = verify(path)
    assert report.first_bad is not None
    assert report.first_bad.line == named
    assert "removed" in report.first_bad.reason


def test_verify_names_a_first_line_that_followed_another(path: Path) -> None:
    Brain(path).append(note())
    path.write_bytes(path.read_bytes().replace(GENESIS.encode(), b"1" * 64))
    assert verify(path).first_bad == BadLine(1, "its prev is not that of a first line: lines before it were removed")


def test_the_line_number_counts_whatever_a_line_calls_itself(path: Path) -> None:
    Brain(path).append(note(), note())
    second = json.loads(path.read_bytes().splitlines()[1])
    with path.open("a") as file:
        file.write(json.dumps({**second, "seq": 10**9, "id": "other"}) + "\n")
    assert Brain(path).snapshot().seq == 3


def test_verify_counts_repeats_and_torn_bytes_without_complaint(path: Path) -> None:
    Brain(path).append(note())
    line = path.read_bytes()
    with path.open("ab") as file:
        file.write(line.replace(b'"seq":1', b'"seq":2') + b'{"v":1')
    report = verify(path)
    assert (report.lines, report.repeated, report.torn_bytes) == (2, 1, 6)
    assert report.kinds == {"note": 2}


def test_whatever_a_line_makes_its_reader_raise_it_is_skipped_and_the_next_one_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Brain(path).append(note("first"))
    for error in every_exception():
        for step in ("swarm.brain.lines.parse_record", "swarm.study.state.BrainState.apply"):
            with monkeypatch.context() as broken:
                broken.setattr(step, raising(error))
                brain = Brain(path)
                brain.snapshot()
                assert len(brain.skipped) == 1 and brain.skipped[0].reason is not None
                if not step.endswith("apply"):
                    assert [*read_records(path)] == [] and verify(path).first_bad is not None
    assert Brain(path).skipped == () and len([*read_records(path)]) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 30_000,
        b'{"kind":"later","agent_id":"a","validation_loss":null,"description":"","x":' + b"[" * 150 + b"]" * 150 + b"}",
        b'{"agent_id":"a","validation_loss":' + b"9" * 5000 + b',"description":""}',
        b'{"agent_id":"a","validation_loss":1e999,"description":""}',
        b'{"agent_id":"a","validation_loss":NaN,"description":""}',
        b'{"agent_id":"a","validation_loss":null,"description":"\\ud800"}',
        b'{"kind":["note"],"agent_id":"a","validation_loss":null,"description":{}}',
        b'{"kind":"trial_finished","agent_id":"a","validation_loss":null,"description":"","trial_id":"t1","seed":1e400}',
        b"\xff\xfe" * 100,
        b"\0" * 1000,
    ],
    ids=range(10),
)
def test_a_hostile_line_is_skipped_and_told(path: Path, line: bytes) -> None:
    Brain(path).append(note("first"))
    with path.open("ab") as file:
        file.write(line + b"\n")
    brain = Brain(path)
    brain.append(note("last"))
    assert [bad.line for bad in brain.skipped] == [2]
    assert [getattr(record, "detail", "") for record in read_records(path)] == ["first", "last"]


@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(path: Path, what: str) -> None:
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    for use in (lambda: Brain(path).snapshot(), lambda: verify(path), lambda: list(read_records(path))):
        with pytest.raises(BrainError, match="a brain is a plain file"):
            use()


def test_a_moment_that_is_no_date_makes_a_bad_line(path: Path) -> None:
    """Every view shows the moment of a record as a date."""
    brain = Brain(path)
    brain.append(note())
    first = json.loads(path.read_text())
    path.write_text("".join(json.dumps(first | {"at": at}) + "\n" for at in (1.0, 1e300, -1e300)))
    assert [line.line for line in verify(path).bad] == [2, 3]
