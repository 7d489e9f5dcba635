"""A host over SSH, against a real sshd on loopback: nothing is said to a stranger, and a whole study comes home."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.git_repository import make_repository
from fakes.loopback_sshd import Sshd, loopback_sshd, make_key
from fakes.pod_in_a_folder import CODE, bundle_of, order_for
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.brain import Brain, verify
from swarm.errors import PodError, RepoError
from swarm.pods.home import bring_home
from swarm.pods.host import HostPods, address_of
from swarm.pods.inside import start
from swarm.pods.inside.seed import seed
from swarm.pods.order import BUNDLE, COLLECTED, DOWN, STATE, Collected, PodPhase, PodReport
from swarm.pods.provider import PodOrder, PodState, Refused, SecretRef, SshAddress, Unreachable
from swarm.pods.reach import OutOfReach
from swarm.pods.ssh import SshReach, UnknownHostKey, announced_key, pin
from swarm.records import TrialState
from swarm.repo import Quarantine, Repo


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    cache = {name: os.environ[name] for name in ("SWARM_CACHE",) if name in os.environ}
    with loopback_sshd(folder, PATH=path, PYTHONPATH=str(CODE), SWARM_GPU_DIR=str(folder / "gpu"), **cache) as made:
        yield made


@pytest.fixture
def pods(sshd: Sshd, tmp_path: Path) -> HostPods:
    return HostPods(sshd.host, known_hosts=sshd.known_hosts, identity=sshd.identity, root=str(tmp_path / "host pods"))


def reach_to(sshd: Sshd, home: Path, known_hosts: Path | None = None) -> SshReach:
    return SshReach(address_of(sshd.host), str(home), known_hosts or sshd.known_hosts, sshd.identity)


def order(name: str, command: str, **env: str | SecretRef) -> PodOrder:
    return PodOrder(name=name, card=None, image="none", command=command, env=dict(env), hours=1, max_usd=1)


def test_files_go_there_and_come_back_whole(sshd: Sshd, tmp_path: Path) -> None:
    reach, content = reach_to(sshd, tmp_path / "a home"), os.urandom(300_000)
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(content)
    reach.put(local, "in/study.bundle")
    assert (tmp_path / "a home" / "in" / "study.bundle").read_bytes() == content
    assert reach.get("in/study.bundle", back) and back.read_bytes() == content
    assert reach.read("in/study.bundle", 1000, 50) == content[1000:1050]
    assert reach.read("in/study.bundle", 300_000) == b"" == reach.read("nothing")
    assert not reach.get("nothing", back)
    assert list((tmp_path / "a home" / "in").iterdir()) == [tmp_path / "a home" / "in" / "study.bundle"]


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "in/../../out"])
def test_no_name_leads_out_of_the_home(sshd: Sshd, tmp_path: Path, name: str) -> None:
    with pytest.raises(PodError, match="leads out"):
        reach_to(sshd, tmp_path).put(tmp_path, name)


def test_a_host_key_that_is_not_known_is_refused_with_the_remedy(sshd: Sshd, tmp_path: Path) -> None:
    nobody = tmp_path / "empty"
    nobody.touch()
    with pytest.raises(UnknownHostKey, match="ssh-keyscan"):
        reach_to(sshd, tmp_path, nobody).read("x")


def test_another_key_than_the_one_that_was_pinned_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    wrong = tmp_path / "known_hosts"
    pin(wrong, address_of(sshd.host), " ".join((tmp_path / "other.pub").read_text().split()[:2]))
    with pytest.raises(UnknownHostKey):
        reach_to(sshd, tmp_path, wrong).read("x")
    ours = make_repository(tmp_path / "repo")
    with pytest.raises(RepoError, match="Host key verification failed"):
        Quarantine(tmp_path / "quarantine", Repo.open(ours.root)).fetch(*reach_to(sshd, ours.root.parent, wrong).git())


def test_a_pod_says_its_own_key_and_keeps_it(sshd: Sshd, tmp_path: Path) -> None:
    log = ["pulling", f"SWARM_HOST_KEY {sshd.host_key}", "SWARM_HOST_KEY ssh-ed25519 AAAAother"]
    key = announced_key(log)
    assert key == sshd.host_key
    known_hosts = tmp_path / "known_hosts"
    pin(known_hosts, address_of(sshd.host), key)
    pin(known_hosts, address_of(sshd.host), key)
    assert reach_to(sshd, tmp_path, known_hosts).read("nothing") == b""
    with pytest.raises(UnknownHostKey, match="another key before"):
        pin(known_hosts, address_of(sshd.host), "ssh-ed25519 AAAAother")


@pytest.mark.parametrize("line", ["SWARM_HOST_KEY ssh-ed25519 AAAA\nother key", "SWARM_HOST_KEY x y", "nothing"])
def test_no_key_is_made_of_something_else(line: str) -> None:
    key = announced_key([line])
    assert key is None or "\n" not in key


@pytest.mark.parametrize("word", ["-oProxyCommand=touch x", "a b", "$(x)", ""])
def test_no_name_becomes_an_option_or_a_command(word: str, tmp_path: Path) -> None:
    with pytest.raises(PodError):
        SshReach(SshAddress(host=word, user="root"), "/tmp", None)
    with pytest.raises(PodError):
        SshReach(SshAddress(host="host", user=word), "/tmp", None)


def test_a_machine_that_is_not_there_is_out_of_reach(tmp_path: Path) -> None:
    nobody = SshReach(SshAddress(host="127.0.0.1", port=9), str(tmp_path), tmp_path / "none")
    with pytest.raises(OutOfReach, match="cannot be reached"):
        nobody.read("x")
    with pytest.raises(Unreachable):
        HostPods("a@127.0.0.1:9", known_hosts=tmp_path / "none").list()


def test_more_than_was_asked_for_is_cut_off(sshd: Sshd, tmp_path: Path) -> None:
    from swarm.pods.ssh import Ssh

    ssh = Ssh(address_of(sshd.host), sshd.known_hosts, sshd.identity)
    assert ssh.call("yes", limit_bytes=5000) == b"y\n" * 2500
    with pytest.raises(OutOfReach, match="no answer within 1 s"):
        ssh.call("sleep 30", limit_s=1)


def test_a_pod_on_a_host_begins_is_listed_stops_goes_on_and_ends(pods: HostPods, tmp_path: Path) -> None:
    made = pods.create(order("swarm-a-1", "echo begun $WORD; exec sleep 600", WORD="here"))
    assert made == pods.get("swarm-a-1") and made.state is PodState.RUNNING and made.price_usd_h == 0
    with pytest.raises(Refused, match="is there already"):
        pods.create(order("swarm-a-1", "true"))
    until = time.monotonic() + 20
    while list(pods.logs("swarm-a-1")) != ["begun here"] and time.monotonic() < until:
        time.sleep(0.1)
    assert list(pods.logs("swarm-a-1")) == ["begun here"]
    pods.stop("swarm-a-1")
    assert [pod.state for pod in pods.list()] == [PodState.STOPPED]
    pods.start("swarm-a-1")
    assert [pod.state for pod in pods.list()] == [PodState.RUNNING]
    pods.terminate("swarm-a-1")
    pods.terminate("swarm-a-1")
    assert pods.list() == [] and pods.get("swarm-a-1") is None
    assert (tmp_path / "host pods" / ".ended" / "swarm-a-1" / "main.log").exists()


PLAIN_PYTHON = Path("/usr/bin/python3")  # one that an ordinary user may run


@pytest.mark.skipif(
    os.geteuid() != 0 or not PLAIN_PYTHON.exists(), reason="only root can be somebody else: not verified"
)
def test_an_ordinary_user_finds_the_watchdog_which_is_closed_to_them() -> None:
    """Nobody may read its environment or its folder, so it is found by what is written down."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made)
        folder.chmod(0o777)
        (folder / "seed.pyz").write_bytes(seed())
        shutil.copyfile(CODE / "swarm/pods/on_host.py", folder / "on_host.py")
        closed = as_nobody(CLOSED, folder)
        try:
            assert closed.stdout is not None and closed.stdout.readline() == "closed\n"
            found, _ = as_nobody(LOOK, folder).communicate(timeout=30)
            assert found.split() == [str(closed.pid)]
        finally:
            closed.kill()
            closed.communicate()


CLOSED = """
import json, os, sys, time
sys.path.insert(0, "seed.pyz")
from swarm.pods.inside.processes import written_down
from swarm.sandbox.libc import PR_SET_DUMPABLE, prctl
prctl(PR_SET_DUMPABLE, 0)
with open("watchdog.json", "w") as file:
    json.dump(written_down("pid", os.getpid()), file)
os.chdir("/")
print("closed", flush=True)
time.sleep(60)
"""
LOOK = "import on_host, os, pathlib; home = pathlib.Path.cwd(); os.chdir('/'); print(*on_host.members(home))"


def as_nobody(code: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(PLAIN_PYTHON), "-c", code], cwd=folder, env={"PYTHONPATH": str(folder)}, stdout=subprocess.PIPE,
        text=True, user=65534, group=65534, extra_groups=[],
    )  # fmt: skip


def test_a_secret_that_is_not_there_is_named_and_none_is_sent(pods: HostPods) -> None:
    with pytest.raises(Refused, match="there is no secret swarm_test_none"):
        pods.create(order("swarm-b-1", "true", OPENAI_API_KEY=SecretRef(secret="swarm_test_none")))


@pytest.mark.parametrize("host", ["machine", "a@", "@b", "a@b:x", "a b@c"])
def test_a_host_that_makes_no_sense_is_refused(host: str) -> None:
    with pytest.raises(PodError):
        HostPods(host)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_study_runs_on_a_host_and_comes_home(pods: HostPods, sshd: Sshd, tmp_path: Path) -> None:
    """From the bundle to the report, with the client looking now and then; at the end nothing runs there."""
    tiny: TinyStudy = make_tiny_study(tmp_path / "tiny")
    source, now = bundle_of(tiny, tmp_path / "bundle"), time.time()
    study = order_for(source, "--trials", "3", now=now, deadline_at=now + 900, lifetime_s=900, collect_wait_s=120)
    begin = start(study)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a shell's start-up files may set another one
    pod = pods.create(order("swarm-tiny-1", begin.command, **begin.env, PATH=path))
    reach = pods.reach(pod)
    assert reach is not None
    reach.put(tmp_path / "bundle", BUNDLE)
    repo, mirror = Repo.open(tiny.root), tmp_path / "rented" / "swarm_brain.jsonl"
    until, looks = time.monotonic() + 300, 0
    while (found := pods.get(pod.id)) is not None and found.state is PodState.RUNNING:
        assert time.monotonic() < until, reach.read("log/watchdog.log")
        time.sleep(1)
        if not (said := reach.read(STATE)):
            continue
        over = PodReport.model_validate_json(said).phase in (PodPhase.DONE, PodPhase.FAILED)
        brought = bring_home(reach, repo, tiny.brain, mirror)
        looks += brought.records > 0
        note = tmp_path / "note"
        note.write_text(Collected(brain_bytes=brought.brain_bytes, at=time.time(), report=over).model_dump_json())
        reach.put(note, COLLECTED)
    said = b"\n".join(reach.read(f"log/{name}.log") for name in ("entry", "study", "watchdog"))
    assert looks >= 2, f"it came home in pieces, while it ran: {said.decode()} {list(pods.logs(pod.id))}"
    here = Brain(tiny.brain).snapshot().latest
    assert here is not None and [trial.state for trial in here.trials.values()] == [TrialState.COMPLETE] * 3
    assert verify(tiny.brain).ok and set(repo.refs(here.study_id)) == {"base"}
    assert (mirror.parent / "report.html").exists()
    assert reach.read(DOWN) == b""
    pods.terminate(pod.id)
    assert pods.list() == []
