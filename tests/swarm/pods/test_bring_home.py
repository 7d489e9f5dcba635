"""What comes home from a pod, and what does not: real git, real files, and a pod that lies."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from factories.records import claim, finished, study_opened
from fakes.fake_clock import FakeClock
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain, verify
from swarm.errors import PodError, RepoError
from swarm.pods import mirror as mirrors
from swarm.pods.home import Brought, bring_home
from swarm.pods.inside.home import Home, write_json
from swarm.pods.reach import FolderReach, OutOfReach
from swarm.records import Note, Operator, Record
from swarm.repo import Repo, taking

POD_STUDY = "toy-20260101-000000-aaaa"


class Pod:
    """A pod's home as its study leaves it, made by hand."""

    def __init__(self, home: Path, source: GitRepository) -> None:
        self.home = Home(home)
        self.home.make()
        subprocess.run(["git", "clone", "-q", str(source.root), str(self.home.repo)], check=True, timeout=30)
        self.repo = GitRepository(self.home.repo)
        self.brain = Brain(self.home.brain, clock=FakeClock())
        self.phase("running")

    def phase(self, phase: str) -> None:
        write_json(self.home.state, {"phase": phase, "at": 0.0})

    def append(self, *records: Record) -> None:
        self.brain.append(*records)

    def trial(self, number: int, text: str = "changed", ref: str | None = None, study: str = POD_STUDY) -> str:
        """A trial with its commit; its commit is returned."""
        name = f"t{number:04d}"
        self.append(
            claim(name, study_id=study, operator=Operator.BASELINE, id=f"{study}/{name}/claim"),
            finished(name, 1.0, study_id=study, id=f"{study}/{name}/finished"),
        )
        self.repo.write("models/toy/train.py", f"{text} {number}\n")
        commit = self.repo.commit(name)
        self.repo.git("update-ref", ref or f"refs/swarm/{study}/{name}", commit)
        return commit

    def open_study(self) -> None:
        self.append(study_opened(study_id=POD_STUDY, id="opened"))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.repository = make_repository(folder / "repo")
        self.repo = Repo.open(self.repository.root)
        self.brain = self.repository.root / "swarm_brain.jsonl"
        self.pod = Pod(folder / "pod", self.repository)
        self.mirror = folder / "rented" / "swarm_brain.jsonl"

    def bring(self) -> Brought:
        return bring_home(FolderReach(self.pod.home.root), self.repo, self.brain, self.mirror)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_records_and_commits_come_while_it_runs_each_once(bench: Bench) -> None:
    bench.pod.open_study()
    first = bench.pod.trial(1)
    before = bench.repository.fingerprint()[:4]
    assert bench.bring() == Brought(3, 1, bench.pod.home.brain.stat().st_size, report=False)
    assert bench.bring() == Brought(0, 0, bench.pod.home.brain.stat().st_size, report=False)
    second = bench.pod.trial(2)
    assert (bench.bring().records, bench.repo.refs(POD_STUDY)) == (2, {"t0001": first, "t0002": second})
    assert bench.repo.read(second, "models/toy/train.py") == "changed 2\n"
    assert verify(bench.brain).ok
    assert bench.mirror.read_bytes() == bench.pod.home.brain.read_bytes()
    assert bench.repository.fingerprint()[:4] == before
    assert not (bench.repository.root / ".git" / "FETCH_HEAD").exists()


def test_the_report_is_written_here_and_not_fetched(bench: Bench) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    (bench.pod.home.root / "report").mkdir()
    (bench.pod.home.root / "report" / "report.html").write_text("<script>alert(7)</script>")
    bench.pod.phase("done")
    assert bench.bring().report
    page = (bench.mirror.parent / "report.html").read_text()
    assert "alert(7)" not in page and POD_STUDY in page


@pytest.mark.parametrize("place", ["before_write", "mirror", "studies", "refs", "merge"])
def test_one_that_is_killed_in_the_middle_is_gone_on_with(bench: Bench, tmp_path: Path, place: str) -> None:
    """A process of its own that dies there; the next collection has everything, and nothing twice."""
    pod = bench.pod
    pod.open_study()
    pod.trial(1)
    died = subprocess.run(
        [sys.executable, "-c", DIES, place, *map(str, (pod.home.root, bench.repo.root, bench.brain, bench.mirror))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert died.returncode == -9, died.stderr
    bench.pod.trial(2)
    bench.bring()
    assert bench.repo.refs(POD_STUDY).keys() == {"t0001", "t0002"}
    assert verify(bench.brain).ok and len(bench.brain.read_text().splitlines()) == 5
    assert bench.mirror.read_bytes() == bench.pod.home.brain.read_bytes()


DIES = """
import os, signal, sys
from pathlib import Path
from swarm.pods import home, mirror
from swarm.pods.reach import FolderReach, OutOfReach
from swarm.repo import Quarantine, Repo
place, pod, root, brain, copy = sys.argv[1], *map(Path, sys.argv[2:])
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
def read(self, name, start=0, limit=1 << 20):
    piece = real(self, name, start, min(limit, 700))
    return die() if place == "mirror" and start > 700 else piece
real, FolderReach.read = FolderReach.read, read
if place == "before_write": home.follow = die
if place == "studies": home._wanted_refs = die
if place == "refs": Repo.create_refs = die
if place == "merge": home.merge = die
home.bring_home(FolderReach(pod), Repo.open(root), brain, copy)
"""


def test_a_pod_adds_to_no_study_but_its_own(bench: Bench) -> None:
    """Neither records nor refs, also not of a study that is here already."""
    Brain(bench.brain).append(study_opened(study_id="ours", id="ours/opened"))
    bench.pod.open_study()
    bench.pod.append(study_opened(study_id="ours", id="theirs/opened"), Note(study_id="ours", description="believe me"))
    bench.pod.trial(1)
    bench.pod.trial(1, study="ours", text="bad")
    brought = bench.bring()
    assert (brought.records, brought.refs, brought.left_out) == (3, 1, 4)
    assert bench.repo.refs("ours") == {} and len(Brain(bench.brain).snapshot().studies["ours"].notes) == 0


def test_one_record_under_a_name_of_ours_is_refused_by_it_and_the_rest_comes(bench: Bench) -> None:
    Brain(bench.brain).append(study_opened(study_id="ours", id="ours/opened"))
    bench.pod.open_study()
    bench.pod.append(Note(study_id=POD_STUDY, id="ours/opened", topic="x", description="\x1b[31mkeep the night away"))
    bench.pod.trial(1)
    brought = bench.bring()
    assert (brought.records, brought.refs) == (3, 1) and verify(bench.brain).ok
    assert "1 record of the pod contradicts" in brought.refused and "note ours/opened says" in brought.refused
    bench.pod.trial(2)
    assert bench.bring().records == 2
    assert Brain(bench.brain).snapshot().studies["ours"].opened.description == ""


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/v1", f"refs/swarm/{POD_STUDY}/../../heads/x"])
def test_no_ref_but_those_of_its_trials_comes(bench: Bench, ref: str) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    before = bench.repository.git("for-each-ref", "refs/heads", "refs/tags")
    if ".." not in ref:
        bench.pod.trial(2, ref=ref)
    else:
        odd = bench.pod.home.repo / ".git" / "refs" / "swarm" / "odd..name"
        odd.write_text(bench.pod.repo.git("rev-parse", "HEAD") + "\n")
    assert bench.bring().refs == 1
    assert bench.repository.git("for-each-ref", "refs/heads", "refs/tags") == before


def test_a_ref_that_says_something_else_here_is_never_moved(bench: Bench) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    bench.bring()
    ours = bench.repo.refs(POD_STUDY)["t0001"]
    bench.pod.trial(3, ref=f"refs/swarm/{POD_STUDY}/t0001")
    with pytest.raises(RepoError, match="nothing was taken"):
        bench.bring()
    assert bench.repo.refs(POD_STUDY)["t0001"] == ours


def test_objects_that_git_would_not_make_are_refused(bench: Bench) -> None:
    """A tree with a folder called .git, as an attack on a checkout would have it."""
    bench.pod.open_study()
    bench.pod.trial(1)
    root = bench.pod.home.repo
    blob = bench.pod.repo.git("hash-object", "-w", "models/toy/train.py")
    inner = bytes.fromhex(blob)
    tree = raw_object(root, b"tree", b"100644 config\0" + inner)
    top = raw_object(root, b"tree", b"40000 .git\0" + bytes.fromhex(tree))
    commit = raw_object(root, b"commit", f"tree {top}\n{AUTHORS}\n\nx\n".encode())
    bench.pod.repo.git("update-ref", f"refs/swarm/{POD_STUDY}/t0009", commit)
    with pytest.raises(RepoError):
        bench.bring()
    assert bench.repo.refs(POD_STUDY) == {}


AUTHORS = "author a <a@b> 0 +0000\ncommitter a <a@b> 0 +0000"


def raw_object(root: Path, kind: bytes, content: bytes) -> str:
    import hashlib

    whole = kind + b" " + str(len(content)).encode() + b"\0" + content
    name = hashlib.sha1(whole).hexdigest()
    path = root / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(whole))
    return name


def test_what_is_too_large_is_refused_before_it_is_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pod.open_study()
    bench.pod.trial(1, text="x" * 5000)
    monkeypatch.setattr(taking, "MAX_OBJECT_BYTES", 4000)
    with pytest.raises(RepoError, match="over 4000"):
        bench.bring()
    assert bench.repo.refs(POD_STUDY) == {}


def test_a_pack_that_never_ends_is_cut_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    (bench.pod.home.repo / "models" / "toy" / "noise").write_bytes(os.urandom(3 << 20))
    bench.pod.repo.git("update-ref", f"refs/swarm/{POD_STUDY}/t0002", bench.pod.repo.commit("noise"))
    monkeypatch.setattr(taking, "MAX_PACK_MIB", 1)
    with pytest.raises(RepoError):
        bench.bring()
    assert sum(path.stat().st_size for path in bench.mirror.parent.rglob("*") if path.is_file()) < 1 << 20


def test_a_brain_without_an_end_is_cut_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pod.open_study()
    monkeypatch.setattr(mirrors, "MAX_BYTES", 4000)
    bench.pod.append(*(Note(study_id=POD_STUDY, detail="x" * 1000) for _ in range(9)))
    with pytest.raises(PodError, match="over 4000 bytes"):
        bench.bring()
    assert bench.mirror.stat().st_size <= 4000 and not bench.brain.exists()


def test_a_brain_that_was_changed_on_the_way_is_named(bench: Bench) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    bench.pod.trial(2)
    brain = bench.pod.home.brain
    brain.write_bytes(brain.read_bytes().replace(b'"validation_loss":1.0', b'"validation_loss":0.1', 1))
    with pytest.raises(PodError, match="is not whole: line 3"):
        bench.bring()
    assert not bench.brain.exists() or b"t0001" not in bench.brain.read_bytes()


def test_a_brain_that_was_exchanged_in_the_pod_is_copied_anew(bench: Bench) -> None:
    bench.pod.open_study()
    bench.pod.trial(1)
    bench.bring()
    kept = bench.mirror.read_bytes()
    bench.pod.home.brain.unlink()
    bench.pod.brain = Brain(bench.pod.home.brain, clock=FakeClock(7.0))
    bench.pod.append(study_opened(study_id="toy-later", id="later"))
    assert bench.bring().records == 1
    assert [path.read_bytes() for path in bench.mirror.parent.glob("*.replaced")] == [kept]


def test_a_pod_that_has_said_nothing_yet_brings_nothing(bench: Bench) -> None:
    assert bench.bring() == Brought(0, 0, 0, report=False)
    assert not bench.brain.exists()


def test_a_pod_that_gives_its_brain_by_the_byte_is_left_for_a_while_and_gone_on_with(tmp_path: Path) -> None:
    class Slow(FolderReach):
        def read(self, name: str, start: int = 0, limit: int = 1 << 20) -> bytes:
            return super().read(name, start, 1 if limit == mirrors.PIECE_BYTES else limit)

    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "swarm_brain.jsonl").write_bytes(b"0123456789")
    copy = tmp_path / "copy"
    for size in range(1, 11):
        with pytest.raises(OutOfReach, match="going on"):
            mirrors.follow(Slow(tmp_path), copy, limit_s=-1.0)
        assert copy.read_bytes() == b"0123456789"[:size]
    assert mirrors.follow(Slow(tmp_path), copy, limit_s=-1.0) == 10
