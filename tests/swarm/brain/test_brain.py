"""Appending, replaying, claiming: what a user of the brain sees on a healthy machine."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from factories import records
from factories.records import study_opened
from fakes.failing_disk import RecordingDisk, UnsyncedDisk
from fakes.fake_clock import FakeClock

from swarm.brain import GENESIS, Brain, read_records, verify
from swarm.brain.lock import WriterLock
from swarm.errors import BrainError, BrainNotOurs, StaleSnapshot, Unwritable
from swarm.records import KNOWN_KINDS, MAX_LINE_BYTES, Note, ProposalClaimed, Record, StudyOpened, UnknownRecord
from swarm.study.state import BrainState

STUDY = "resnext-20260101-000000-4f2a"
OLD_LOG = Path(__file__).parents[2] / "data" / "brain_v1.jsonl"
FINALS_LOG = OLD_LOG.with_name("brain_finals.jsonl")

ORIGINAL_RUN = """\
{"agent_id": "orchestrator", "validation_loss": null, "description": "Initialization"}
{"agent_id": "worker_1", "validation_loss": 4.474519, "description": "baseline with locking and timeout"}
{"agent_id": "worker_2", "validation_loss": 4.433933, "description": "dropout to 0.1 for worker 2"}
{"agent_id": "worker_1", "validation_loss": 4.403664, "description": "label_smoothing 0.0"}
{"agent_id": "worker_2", "validation_loss": 4.449075, "description": "base_lr 8e-3"}
{"agent_id": "worker_1", "validation_loss": 4.403990, "description": "weight_decay=1e-4"}
{"agent_id": "worker_2", "validation_loss": 3.588812, "description": "batch_size=512"}
{"agent_id": "worker_1", "validation_loss": 3.629776, "description": "base_lr=2e-3"}
{"agent_id": "worker_2", "validation_loss": 3.975648, "description": "label_smoothing=0.2"}
{"agent_id": "worker_1", "validation_loss": 3.574252, "description": "base_lr=1e-2"}
{"agent_id": "worker_2", "validation_loss": 3.564052, "description": "weight_decay=0.0"}
{"agent_id": "worker_1", "validation_loss": null, "description": "Running Loop 6 base_lr=1e-2 wd=0.0"}
{"agent_id": "worker_2", "validation_loss": null, "description": "Running Loop 6 base_lr=1e-3 wd=0.0"}
{"agent_id": "worker_1", "validation_loss": 3.574787, "description": "base_lr=1e-2 wd=0.0"}
{"agent_id": "worker_2", "validation_loss": 3.600373, "description": "base_lr=1e-3 wd=0.0"}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarm_brain.jsonl"


def opened() -> StudyOpened:
    return study_opened(study_id=STUDY)


def claim(**fields: object) -> ProposalClaimed:
    return records.claim(**{"study_id": STUDY, **fields})


def test_an_append_fills_the_envelope_and_chains(path: Path) -> None:
    brain = Brain(path, FakeClock(1000.0))
    first, second = brain.append(opened(), Note(study_id=STUDY, detail="zwei\nZeilen \u2028 größer"))
    lines = path.read_bytes().splitlines(keepends=False)
    assert (first.seq, first.v, first.at, first.prev) == (1, 1, 1000.0, GENESIS)
    assert (second.seq, second.prev) == (2, sha256(lines[0]).hexdigest())
    assert first.id != second.id
    assert list(read_records(path)) == [first, second]
    assert brain.snapshot().studies.keys() == {STUDY}


def test_every_line_has_the_three_keys_of_the_original_format(path: Path) -> None:
    Brain(path).append(opened(), claim(), Note(study_id=STUDY))
    for line in path.read_text().splitlines():
        assert {"agent_id", "validation_loss", "description"} <= json.loads(line).keys()


def test_an_append_is_one_write_and_is_on_the_disk_before_it_returns(path: Path) -> None:
    disk = RecordingDisk()
    brain = Brain(path, disk=disk)
    brain.append(opened(), Note(study_id=STUDY))
    assert disk.calls == ["write", "sync", "sync"]  # the second is the folder's: the file is new
    brain.append(Note(study_id=STUDY))
    assert disk.calls[3:] == ["write", "sync"]


def test_another_process_reads_on_from_where_it_was(path: Path) -> None:
    writer, reader = Brain(path), Brain(path)
    assert reader.snapshot().seq == 0
    writer.append(opened())
    state = reader.snapshot()
    assert state.seq == 1
    writer.append(Note(study_id=STUDY))
    assert reader.snapshot() is state
    assert state.seq == 2


def test_a_repeated_id_is_written_once_and_answered_with_the_stored_record(path: Path) -> None:
    note = Note(study_id=STUDY, id="abc", detail="first")
    _, stored = Brain(path).append(opened(), note)
    again = Brain(path).append(note.model_copy(update={"detail": "second"}), Note(study_id=STUDY))
    assert again[0] == stored
    assert [record.seq for record in again] == [2, 3]
    assert len(path.read_bytes().splitlines()) == 3


def test_an_empty_transaction_writes_nothing(path: Path) -> None:
    assert Brain(path).append() == []
    assert path.read_bytes() == b""


def test_what_build_raises_passes_through_and_nothing_is_written(path: Path) -> None:
    brain = Brain(path)
    brain.append(opened())
    before = path.read_bytes()

    def refuse(state: BrainState) -> list[Record]:
        raise StaleSnapshot("moved on")

    with pytest.raises(StaleSnapshot, match="moved on"):
        brain.transact(refuse)
    assert path.read_bytes() == before
    brain.append(Note(study_id=STUDY))  # and the lock is free again


def test_build_sees_what_others_wrote_since_the_snapshot(path: Path) -> None:
    mine, other = Brain(path), Brain(path)
    mine.append(opened())
    read_seq = mine.snapshot().seq
    other.append(Note(study_id=STUDY))
    seen: list[int] = []
    mine.transact(lambda state: seen.append(state.seq) or [])
    assert seen == [read_seq + 1]


def test_build_sees_what_others_wrote_while_it_waited_for_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brain, held = Brain(path), WriterLock.held

    @contextmanager
    def late(lock: WriterLock) -> Iterator[None]:
        monkeypatch.setattr(WriterLock, "held", held)
        Brain(path).append(opened(), Note(study_id=STUDY))
        with held(lock):
            yield

    monkeypatch.setattr(WriterLock, "held", late)
    seen: list[int] = []
    brain.transact(lambda state: seen.append(state.seq) or [Note(study_id=STUDY)])
    assert seen == [2]
    assert verify(path).ok


def test_a_claim_gets_the_next_trial_id_under_the_lock(path: Path) -> None:
    brain = Brain(path)
    brain.append(opened())
    [first], [second] = brain.append(claim()), Brain(path).append(claim(program="t0001"))
    assert isinstance(first, ProposalClaimed)
    assert isinstance(second, ProposalClaimed)
    assert (first.trial_id, first.program) == ("t0001", "t0001")
    assert (second.trial_id, second.program) == ("t0002", "t0001")


@pytest.mark.parametrize("records", [[claim(trial_id="t0001")], [claim(), claim()]])
def test_a_trial_is_claimed_once(path: Path, records: list[Record]) -> None:
    brain = Brain(path)
    brain.append(opened(), claim(trial_id="t0001"))
    before = path.read_bytes()
    with pytest.raises(StaleSnapshot, match=r"trial t000\d .* is claimed already"):
        brain.append(*records)
    assert path.read_bytes() == before


def test_a_record_that_is_too_long_for_a_line_is_written_shorter(path: Path) -> None:
    cites = tuple("x" * 100 for _ in range(400))
    brain = Brain(path)
    [_, written] = brain.append(opened(), claim(trial_id="t0001", cites=cites))
    assert isinstance(written, ProposalClaimed)
    assert written.trial_id == "t0001" and written.cites == cites[: len(written.cites)] != ()
    assert len(path.read_bytes().splitlines()[1]) < MAX_LINE_BYTES and brain.skipped == ()


def test_a_line_over_the_limit_names_kind_size_and_limit(path: Path) -> None:
    many = UnknownRecord.model_validate({"kind": "later", **{f"field_{n}": n for n in range(4000)}})
    with pytest.raises(Unwritable, match=rf"later record of \d{{5}} bytes .* limit of {MAX_LINE_BYTES}"):
        Brain(path).append(many)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_never_written(path: Path, value: float) -> None:
    with pytest.raises(Unwritable, match="a note record cannot be written: Out of range float"):
        Brain(path).append(Note.model_construct(kind="note", study_id=STUDY, validation_loss=value))
    assert path.read_bytes() == b""


def test_a_lone_surrogate_is_never_written(path: Path) -> None:
    with pytest.raises(Unwritable, match="a note record cannot be written"):
        Brain(path).append(Note(study_id=STUDY).model_copy(update={"detail": "\ud800"}))
    assert path.read_bytes() == b""


def test_what_nobody_could_read_back_is_never_written(path: Path) -> None:
    with pytest.raises(Unwritable, match="description"):
        Brain(path).append(Note(study_id=STUDY).model_copy(update={"description": "x" * 301}))
    assert path.read_bytes() == b""


def test_a_clock_that_jumps_back_changes_no_order(path: Path) -> None:
    clock = FakeClock(500_000.0)
    brain = Brain(path, clock)
    brain.append(opened())
    clock.jump(-86_400)
    [later] = brain.append(Note(study_id=STUDY))
    assert (later.seq, later.at) == (2, 500_000.0 - 86_400)
    assert brain.snapshot().seq == 2


def test_the_original_two_agent_run_is_history_that_can_be_continued(path: Path) -> None:
    path.write_text(ORIGINAL_RUN)
    brain = Brain(path)
    history = brain.snapshot().history
    assert [record.seq for record in history] == list(range(1, 16))
    assert min(record.validation_loss for record in history if record.validation_loss is not None) == 3.564052
    [record] = brain.append(opened())
    assert record.seq == 16
    assert verify(path).ok
    assert brain.skipped == ()


def test_an_old_log_stays_readable_for_ever() -> None:
    brain = Brain(OLD_LOG)
    state = brain.snapshot()
    study = state.latest
    assert brain.skipped == ()
    assert verify(OLD_LOG).ok
    finals = {record.kind for record in read_records(FINALS_LOG)}
    assert {record.kind for record in read_records(OLD_LOG)} | finals == KNOWN_KINDS.keys()
    assert study is not None
    assert (state.seq, len(state.history), len(study.trials), study.closed is not None) == (21, 2, 4, True)
    assert study.incumbent is not None
    assert (study.incumbent.name, study.incumbent.mean) == ("t0003", 3.2)


def test_finals_that_were_recorded_stay_readable_for_ever() -> None:
    study = Brain(FINALS_LOG).snapshot().latest
    assert verify(FINALS_LOG).ok and study is not None
    assert study.finals_ends[1].kept and study.programs["t0006"].verdict is not None
    assert study.programs["t0006"].verdict.finals == 1


def test_kinds_of_a_newer_version_are_kept_and_skipped(path: Path) -> None:
    brain = Brain(path)
    brain.append(opened())
    extra = {"agent_id": "w", "validation_loss": None, "description": "", "kind": "dream", "v": 2, "study_id": "?"}
    with path.open("a") as file:
        file.write(json.dumps(extra) + "\n")
    [record] = brain.append(Note(study_id=STUDY))
    assert record.seq == 3
    assert brain.skipped == ()
    assert brain.snapshot().unknown_kinds == {"dream": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"commit\tloss\tstatus\n8789f42\t1.8\tkeep\n",
        b'{\n  "name": "package",\n  "version": "1.0"\n}\n',
        b'{"op_code": 0, "worker_id": "a", "study_name": "x"}\n',
        b'{"kind": "Pod", "apiVersion": "v1"}\n',
        b"[1, 2]\n",
        b"no newline at all",
        b"\n",
    ],
)
def test_a_file_that_is_not_ours_is_never_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BrainNotOurs, match=r"is not a brain: .* Choose another path"):
        Brain(path).append(opened())
    assert path.read_bytes() == content
    assert not path.with_suffix(".torn").exists()


def test_a_folder_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BrainError, match=r"missing/folder/brain.jsonl.lock: No such file .* a folder that exists"):
        Brain(tmp_path / "missing" / "folder" / "brain.jsonl").append(opened())
    assert list(tmp_path.iterdir()) == []


def test_threads_share_a_brain(path: Path) -> None:
    brain = Brain(path, disk=UnsyncedDisk())
    brain.append(opened())
    threads = [
        threading.Thread(target=lambda: [brain.append(Note(study_id=STUDY)) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert brain.snapshot().seq == 81
    assert verify(path).ok
