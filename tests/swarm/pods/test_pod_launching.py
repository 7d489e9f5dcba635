"""From a repository and a person's wishes to an order: what goes with it, what never does, and who is asked."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.git_repository import GitRepository, make_repository
from fakes.pod_cloud import CARD, KEY, intent, living, offer, paper_cloud, renting

from swarm.clock import SystemClock
from swarm.errors import PodError, SwarmError, UsageError
from swarm.pods.launching import Launch, bundled, check_committed
from swarm.pods.ledger import Entry, Ledger
from swarm.pods.order import ORDER_VARIABLE, StudyOrder
from swarm.pods.provider import PodOrder, SecretRef
from swarm.pods.reconciling import Standing
from swarm.pods.registry import costs_now, named, of_repository, orphan, to_be_asked
from swarm.pods.renting import begin
from swarm.pods.unspoken import check_without_secrets
from swarm.pods.wish import Wish
from swarm.repo import Repo


@pytest.fixture
def user(tmp_path: Path) -> GitRepository:
    return make_repository(tmp_path / "repo")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNPOD_API_KEY", "RUNPOD_API_KEY_FILE", "SWARM_RUNPOD_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def wish(**changed: object) -> Wish:
    facts: dict[str, object] = {"cards": (CARD,), "hours": 0.5, "max_usd": 1.0}
    return Wish(**{**facts, **changed})  # type: ignore[arg-type]


def order_of(user: GitRepository, root: Path, asked: Wish) -> PodOrder:
    repo = Repo.open(user.root)
    with paper_cloud() as (server, clock):
        desk = renting(server, clock, root)
        launch = Launch(desk, repo, begin(desk, "swarm-repo-1", asked.intent(repo)))
        if launch.bundle is not None:
            bundled(repo, launch.rental.intent.commit, launch.bundle)
        return launch._order(offer(), clock.now() + 1800)


def test_an_order_holds_the_study_and_secrets_by_their_names(user: GitRepository, tmp_path: Path) -> None:
    made = order_of(user, tmp_path / "pods", wish(secrets=("OPENAI_API_KEY=openai",), up=("--trials", "4")))
    assert made.env["OPENAI_API_KEY"] == SecretRef(secret="openai")
    study = StudyOrder.model_validate_json(str(made.env[ORDER_VARIABLE]))
    assert study.up == ("--workers", "2", "--trials", "4")
    assert (study.deadline_at, study.lifetime_s, study.source.kind) == (1_001_800.0, 1800.0, "bundle")
    assert study.source.commit == user.git("rev-parse", "HEAD") and study.source.sha256 is not None
    assert max(len(str(value)) for value in made.env.values()) < 100_000, "one variable takes 128 KiB at most"


def test_a_repository_is_cloned_from_where_it_is_said(user: GitRepository, tmp_path: Path) -> None:
    made = order_of(user, tmp_path / "pods", wish(repository="https://example.org/x.git", push_to="git@example.org:y"))
    study = StudyOrder.model_validate_json(str(made.env[ORDER_VARIABLE]))
    assert (study.source.kind, study.source.url, study.sync.kind, study.sync.url) == (
        *("repository", "https://example.org/x.git"),
        *("git", "git@example.org:y"),
    )


def test_the_bundle_has_the_commit_and_is_made_once(user: GitRepository, tmp_path: Path) -> None:
    repo, path = Repo.open(user.root), tmp_path / "study.bundle"
    bundled(repo, repo.head(), path)
    made_at = path.stat().st_mtime_ns
    bundled(repo, repo.head(), path)
    assert path.stat().st_mtime_ns == made_at
    assert repo.head() in user.git("bundle", "list-heads", str(path))


def test_what_is_not_committed_is_named_before_anything_is_paid(user: GitRepository) -> None:
    check_committed(Repo.open(user.root))
    user.write("swarm_brain.jsonl", "")  # the brain is not part of what a pod runs
    check_committed(Repo.open(user.root))
    user.write("models/toy/train.py", "changed\n")
    with pytest.raises(PodError, match=r"models/toy/train\.py differ"):
        check_committed(Repo.open(user.root))


def test_a_key_in_an_option_is_refused(user: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", KEY)
    with pytest.raises(UsageError, match="--secret MY_API_KEY=NAME") as refused:
        wish(up=("--base-url", f"https://{KEY}@example.org")).intent(Repo.open(user.root))
    assert KEY not in str(refused.value)
    check_without_secrets("nothing of it")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cards": ()}, "--gpu"),
        ({"max_usd": None}, "--max-usd is missing"),
        ({"cloud": "public"}, "--cloud"),
        ({"hours": 0.0}, "--hours"),
        ({"hours": float("nan")}, "--hours"),
        ({"max_price": -1.0}, "--max-price"),
        ({"secrets": ("OPENAI_API_KEY",)}, "--secret"),
        ({"secrets": ("OPENAI_API_KEY=a b",)}, "--secret"),
        ({"fake": True, "host": "me@there"}, "--fake and --host"),
        ({"idle_s": 1.0}, "--idle-min"),
        ({"workers": 0}, "--workers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_sense_is_refused_by_the_name_of_its_flag(
    changed: dict[str, object], message: str, user: GitRepository
) -> None:
    with pytest.raises(UsageError, match=message):
        wish(**changed).intent(Repo.open(user.root))


def open_rental(ledger: Ledger, name: str, **changed: object) -> None:
    ledger.append(Entry.model_validate({"at": 1.0, "name": name, "kind": "intent", "intent": intent(**changed)}))


def test_a_pod_is_named_by_its_beginning_or_by_its_repository(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(SwarmError, match="no pod was rented"):
        named(ledger, None, Path("/a"))
    for name, root in (("swarm-a-1", "/a"), ("swarm-a-2", "/a"), ("swarm-b-1", "/b")):
        open_rental(ledger, name, root=root)
    ledger.append(Entry.model_validate({"at": 2.0, "name": "swarm-a-2", "kind": "ended", "cost_usd": 0.0}))
    assert named(ledger, None, Path("/a")).name == "swarm-a-1", "an open one before a later one that has ended"
    assert named(ledger, "swarm-b", None).name == "swarm-b-1"
    with pytest.raises(UsageError, match="fits 2 pods"):
        named(ledger, "swarm-a", None)
    found = of_repository(ledger, Path("/a"), "runpod")
    assert found is not None and found.name == "swarm-a-1"
    assert of_repository(ledger, Path("/a"), "fake") is None


def test_nobody_is_asked_without_a_key_or_an_open_rental(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    assert to_be_asked(ledger) == [] and costs_now(ledger, SystemClock()) == []
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    assert to_be_asked(ledger) == [("runpod", None)]


def test_a_study_is_told_what_costs_money_and_waits_two_seconds_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paper_cloud() as (server, _):
        server.cloud.create({"name": "swarm-orphan", "gpu": {"id": CARD}}, 0.5)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        monkeypatch.setenv("SWARM_RUNPOD_BASE_URL", server.url)
        (line,) = costs_now(Ledger(tmp_path), SystemClock())
        assert line.startswith(f"swarm-orphan: {Standing.ORPHAN}, ") and "swarm pod down swarm-orphan" in line
    begun = time.monotonic()
    monkeypatch.setenv("SWARM_RUNPOD_BASE_URL", "http://127.0.0.1:9/v2")  # nobody there
    (line,) = costs_now(Ledger(tmp_path), SystemClock(), within_s=0.3)
    assert "No answer in 0.3 s" in line and time.monotonic() - begun < 2
    assert KEY not in json.dumps(line)


def test_an_orphan_is_found_by_its_name_with_the_provider_that_can_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swarm.cli.rented import end_pod, print_list

    with paper_cloud() as (server, _):
        server.cloud.create({"name": "swarm-orphan", "gpu": {"id": CARD}}, 0.5)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        monkeypatch.setenv("SWARM_RUNPOD_BASE_URL", server.url)
        monkeypatch.setenv("SWARM_PODS_DIR", str(tmp_path))
        assert orphan(Ledger(tmp_path), SystemClock(), print, "swarm-other") is None
        assert print_list(as_json=True) == 1
        assert json.loads(capsys.readouterr().out)["pods"][0]["standing"] == "orphan"
        assert end_pod("swarm-orphan", tmp_path, now=False, yes=True, as_json=False) == 0
        assert living(server) == [] and print_list(as_json=False) == 0
        assert "No pod costs money now." in capsys.readouterr().out


def test_nothing_is_rented_where_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from swarm.cli.pod_text import ask

    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="--yes"):
        ask("Rent it?", yes=False)
    ask("Rent it?", yes=True)


def test_a_word_that_swarm_up_does_not_know_is_refused_before_anything_is_paid(
    user: GitRepository, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "swarm", "pod", "up", "--gpu", CARD, "--max-usd", "1", "--yes"]
    environment = {**os.environ, "SWARM_PODS_DIR": str(tmp_path / "pods"), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [*command, "--", "--trails", "4"], cwd=user.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "--trails" in done.stderr
    assert not (tmp_path / "pods").exists()


@pytest.mark.parametrize(
    "asked",
    [
        {"up": ("--notify", "https://ntfy.sh/canary-topic-51d0")},
        {"up": ("--notify=slack+https://hooks.example/canary-51d0",)},
        {"up": ("--base-url", "https://user:canary-51d0@models.example/v1")},
        {"up": ("--base-url", "https://models.example/v1?key=sk-canary-51d0-0123456789")},
        {"repository": "https://x-access-token:canary51d0@github.example/r.git"},
        {"repository": "https://canary51d0canary51d0@github.example/r.git"},
        {"push_to": "https://ghp_canary51d0canary51d0@github.example/r.git"},
    ],
)
def test_a_secret_in_an_option_is_refused_and_shown_nowhere(user: GitRepository, asked: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="--secret") as refused:
        wish(**asked).intent(Repo.open(user.root))
    assert "canary" not in str(refused.value)


def test_an_address_without_a_secret_is_none() -> None:
    for text in (
        "ssh://git@host.example/r.git",
        "git@host.example:r.git",
        "https://me@host.example/r",
        "http://h:80/v1",
    ):
        check_without_secrets(text)


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "HF_TOKEN", "DB_PASSWORD", "MY_PASSWD", "SWARM_NOTIFY", "A_WEBHOOK", "AWS_CREDENTIAL"]
)
def test_the_value_of_a_variable_that_is_named_like_a_secret_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "canary-of-every-name")
    with pytest.raises(UsageError, match=name):
        check_without_secrets("words with canary-of-every-name in them")
