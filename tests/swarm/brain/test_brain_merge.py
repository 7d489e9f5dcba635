"""Two brains into one: nothing twice, nothing lost, nothing out of order, and no contradiction made smooth."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.records import claim, example_records, finished, study_opened
from factories.studies import demo_study
from fakes.fake_clock import FakeClock

from swarm.brain import Brain, MergeRefused, merge, merged_file, read_records, verify
from swarm.errors import Unwritable
from swarm.records import MAX_LINE_BYTES, Note, Operator, Record

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A brain file with these records."""

    def write(name: str, *records: Record) -> Path:
        path = tmp_path / name
        Brain(path, clock=FakeClock()).append(*records)
        return path

    return write


def study(name: str, trials: int = 3) -> list[Record]:
    opened: list[Record] = [study_opened(study_id=name, id=f"{name}/opened")]
    for number in range(1, trials + 1):
        trial, own = f"t{number:04d}", {"study_id": name}
        opened += [
            claim(trial, **own, id=f"{name}/{trial}/claim", operator=Operator.BASELINE, read_seq=len(opened)),
            finished(trial, 2.0 - number / 10, **own, id=f"{name}/{trial}/finished"),
        ]
    return opened


def ids(path: Path) -> list[str]:
    return [record.id for record in read_records(path)]


def fields_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_studies_lie_side_by_side_in_their_own_order(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    before = home.read_bytes()
    merged = merge(Brain(home), pod)
    assert (merged.added, merged.known, merged.unreadable) == (7, 0, 0)
    assert home.read_bytes().startswith(before)
    assert ids(home) == [record.id for record in (*study("a"), *study("b"))]
    assert verify(home).ok
    assert set(Brain(home).snapshot().studies) == {"a", "b"}


def test_merging_again_and_in_pieces_adds_nothing_twice(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b", trials=1))
    brain = Brain(home)
    assert merge(brain, pod).added == 3
    Brain(pod).append(*study("b", trials=4)[3:])
    assert merge(brain, pod).added == 6
    again = merge(brain, pod)
    assert (again.added, again.known) == (0, 9)
    assert ids(home) == [record.id for record in (*study("a"), *study("b", trials=4))] and verify(home).ok


def test_what_a_record_says_stays_but_for_its_place(write: Write) -> None:
    """Its time, its number and every field, also one that this version does not know."""
    home, pod = write("home", *study("a")), write("pod", *example_records().values())
    lines = fields_of(pod)
    lines[3]["of_a_newer_version"] = {"x": [1, 2.5, "ü"]}
    rewritten(pod, lines)
    merge(Brain(home, clock=FakeClock(5.0)), pod)
    brought = fields_of(home)[7:]
    assert verify(home).ok
    for here, there in zip(brought, lines, strict=True):
        assert without_place(here) == without_place(there)


def rewritten(path: Path, lines: list[dict[str, object]]) -> None:
    """The file anew with a chain that holds."""
    from swarm.brain.lines import GENESIS, line_sha256

    text, prev = b"", GENESIS
    for fields in lines:
        fields["prev"] = prev
        line = json.dumps(fields, ensure_ascii=False).encode()
        text, prev = text + line + b"\n", line_sha256(line)
    path.write_bytes(text)


def without_place(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in ("seq", "prev", "read_seq")}


def test_what_an_author_had_read_is_where_it_stands_now(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    merge(Brain(home), pod)
    read = {str(fields["id"]): fields["read_seq"] for fields in fields_of(home) if "read_seq" in fields}
    assert read["b/t0002/claim"] == 7 + 3  # the third line of the pod's, behind seven of ours
    assert read["a/t0002/claim"] == 3
    assert merge(Brain(home), pod).added == 0


def test_verdicts_and_standings_are_the_same_after_a_merge(write: Write, tmp_path: Path) -> None:
    pod = write("pod", *(record.model_copy(update={"id": f"r{n}"}) for n, record in enumerate(demo_study().records)))
    home = write("home", *study("a"))
    merge(Brain(home), pod)
    there, here = Brain(pod).snapshot().latest, Brain(home).snapshot().latest
    assert there is not None and here is not None
    assert here.lineage == there.lineage and list(here.trials) == list(there.trials)
    assert [p.mean for p in here.ranked()] == [p.mean for p in there.ranked()]


def test_one_id_that_says_two_things_is_named_and_nothing_is_written(write: Write) -> None:
    other = [*study("b"), Note(study_id="a", id="a/t0001/finished", topic="x", description="I am somebody else")]
    home, pod = write("home", *study("a")), write("pod", *other)
    before = home.read_bytes()
    with pytest.raises(MergeRefused, match="a/t0001/finished says something else"):
        merge(Brain(home), pod)
    assert home.read_bytes() == before


def test_one_trial_claimed_twice_is_named_and_nothing_is_written(write: Write) -> None:
    """A study that went on in two places."""
    forked = [*study("a", trials=2), claim("t0003", study_id="a", id="other")]
    home, pod = write("home", *study("a")), write("pod", *forked)
    before = home.read_bytes()
    with pytest.raises(MergeRefused, match="trial t0003 of a is claimed by another record"):
        merge(Brain(home), pod)
    assert home.read_bytes() == before


@pytest.mark.parametrize(
    ("hostile", "named"),
    [
        (Note(study_id="b", id="a/t0001/finished", topic="x", description="I am somebody else"), "a/t0001/finished"),
        (claim("t0002", study_id="b", id="other"), "trial t0002 of b is claimed by another record"),
        (Note(study_id="b", id="\x1b[31m" + "a" * 300, topic="x", detail="y"), None),
    ],
    ids=["an-id-that-is-taken", "a-second-claim", "nothing-wrong"],
)
def test_apart_one_record_that_contradicts_is_named_and_the_rest_comes(
    write: Write, hostile: Record, named: str | None
) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"), Note(study_id="b", id="last", topic="x"))
    lines = fields_of(pod)
    written = hostile.model_copy(update={"seq": 8}).model_dump(mode="json")
    rewritten(pod, [*lines[:-1], written, {**lines[-1], "seq": 9}])
    before = home.read_bytes()
    merged = merge(Brain(home), pod, apart=True)
    assert merged.added == 8 + (named is None) and len(merged.refused) == (named is not None)
    assert named is None or named in merged.refused[0]
    assert ids(home)[-1] == "last" and home.read_bytes().startswith(before) and verify(home).ok
    assert merge(Brain(home), pod, apart=True).added == 0


def test_apart_an_unwanted_record_that_contradicts_is_only_counted(write: Write) -> None:
    other = [*study("b"), Note(study_id="a", id="a/t0001/finished", topic="x", description="I am somebody else")]
    home, pod = write("home", *study("a")), write("pod", *other)
    merged = merge(Brain(home), pod, wanted=lambda record: record.study_id == "b", apart=True)
    assert (merged.added, merged.unwanted, merged.refused) == (7, 1, ())


def test_apart_a_line_that_is_too_long_at_its_new_place_keeps_nothing_away(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    lines = fields_of(pod)
    long = {**lines[0], "seq": 8, "kind": "note", "id": "long", "topic": "x", "more": [1e15] * 1400, "filler": ""}
    room = MAX_LINE_BYTES - 2 - len(json.dumps(long, ensure_ascii=False).replace("1000000000000000.0", "1e15"))
    rewritten(pod, [*lines, {**long, "filler": "y" * room}])
    pod.write_bytes(pod.read_bytes().replace(b"1000000000000000.0", b"1e15"))
    assert verify(pod).ok
    with pytest.raises(Unwritable):
        merge(Brain(home), pod)
    merged = merge(Brain(home), pod, apart=True)
    assert merged.added == 7 and "too long" in merged.refused[0] and verify(home).ok


def test_a_file_whose_chain_is_broken_is_refused_with_the_line(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    pod.write_text(pod.read_text().replace("1.9", "0.1", 1))
    with pytest.raises(MergeRefused, match="line 3"):
        merge(Brain(home), pod)


def test_a_line_that_cannot_be_read_is_left_out_and_counted(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    lines = fields_of(pod)
    lines[2]["state"] = "who knows"
    rewritten(pod, lines)
    merged = merge(Brain(home), pod)
    assert (merged.added, merged.unreadable) == (6, 1) and verify(home).ok


def test_an_unfinished_last_line_is_not_there_yet(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    pod.write_bytes(pod.read_bytes()[:-20])
    assert merge(Brain(home), pod).added == 6
    assert verify(home).ok


def test_lines_of_the_original_format_come_once_and_as_they_are(write: Write) -> None:
    old = b'{"agent_id": "w", "validation_loss": 4.4, "description": "base_lr 8e-3"}\n'
    home, pod = write("home", *study("a")), write("pod")
    pod.write_bytes(old)
    Brain(pod).append(*study("b"))
    assert merge(Brain(home), pod).added == 8
    assert merge(Brain(home), pod).added == 0
    assert old in home.read_bytes() and verify(home).ok


def test_only_what_is_wanted_comes(write: Write) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"), *study("c"))
    merged = merge(Brain(home), pod, lambda record: record.study_id == "c")
    assert (merged.added, merged.unwanted) == (7, 7)
    assert set(Brain(home).snapshot().studies) == {"a", "c"}


def test_a_new_file_appears_whole_or_not_at_all(write: Write, tmp_path: Path) -> None:
    home, pod, out = write("home", *study("a")), write("pod", *study("b")), tmp_path / "out"
    before = home.read_bytes(), pod.read_bytes()
    assert merged_file(home, pod, out).added == 7
    assert ids(out) == [*ids(home), *ids(pod)] and verify(out).ok
    assert (home.read_bytes(), pod.read_bytes()) == before
    with pytest.raises(MergeRefused, match="is there already"):
        merged_file(home, pod, out)
    forked = write("forked", *study("b", trials=2), claim("t0003", study_id="b", id="other"))
    with pytest.raises(MergeRefused):
        merged_file(pod, forked, tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


def test_others_append_while_it_merges(write: Write) -> None:
    """Two processes at once: every record of both is there once, in one chain."""
    home = write("home", *study("a"))
    pods = [write(f"pod{n}", *study(f"s{n}", trials=30)) for n in range(2)]
    code = (
        "import sys; from swarm.brain import *; from pathlib import Path; merge(Brain(sys.argv[1]), Path(sys.argv[2]))"
    )
    merging = [subprocess.Popen([sys.executable, "-c", code, str(home), str(pod)]) for pod in pods]
    brain = Brain(home)
    for number in range(20):
        brain.append(Note(study_id="a", id=f"n{number}", description="meanwhile"))
    assert [process.wait(60) for process in merging] == [0, 0]
    assert len(ids(home)) == len(set(ids(home))) == 7 + 2 * 61 + 20
    assert verify(home).ok


def test_the_command_says_what_it_did(write: Write, tmp_path: Path) -> None:
    home, pod = write("home", *study("a")), write("pod", *study("b"))
    run = [sys.executable, "-m", "swarm", "brain", "merge"]
    done = subprocess.run([*run, home, pod], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "7 records added, 0 were there" in done.stdout
    gone = subprocess.run([*run, home, "none"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert gone.returncode == 1 and "there is no brain at none" in gone.stderr
