"""What a repository can configure to be executed is not executed, and processes that die leave a usable repository."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.git_repository import TRAIN, GitRepository, make_repository

from swarm.errors import NotARepository
from swarm.repo import Repo, trial_ref

FILE = "models/toy/train.py"
HOOKS = (
    *("applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-checkout", "post-commit", "post-index-change"),
    *("post-merge", "post-rewrite", "pre-auto-gc", "pre-commit", "prepare-commit-msg", "reference-transaction"),
)


@pytest.fixture
def user(tmp_path: Path) -> GitRepository:
    return make_repository(tmp_path / "repo")


def plant(user: GitRepository, marker: Path) -> None:
    """Everything that git can be told to run, each leaving a line in `marker`."""
    trap = user.root.parent / "trap.sh"
    trap.write_text(f'#!/bin/sh\necho "$0 $*" >> {marker}\ncat 2>/dev/null\nexit 0\n')
    trap.chmod(0o755)
    elsewhere = user.root.parent / "hooks"
    elsewhere.mkdir()
    for name in HOOKS:
        for folder in (user.root / ".git" / "hooks", elsewhere):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(trap.read_text())
            (folder / name).chmod(0o755)
    user.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    user.git("add", ".gitattributes")
    user.git("commit", "-q", "--no-verify", "-m", "attributes")
    settings = {
        "core.hooksPath": str(elsewhere),
        "core.fsmonitor": str(trap),
        "core.pager": str(trap),
        "core.editor": str(trap),
        "core.sshCommand": str(trap),
        "filter.evil.clean": f"{trap} clean",
        "filter.evil.smudge": f"{trap} smudge",
        "filter.evil.required": "true",
        "diff.evil.command": str(trap),
        "diff.evil.textconv": str(trap),
        "diff.external": str(trap),
        "merge.evil.driver": f"{trap} %A",
        "commit.gpgSign": "true",
        "gpg.program": str(trap),
        "alias.update-ref": f"!{trap}",
        "alias.export": f"!{trap}",
    }
    for key, value in settings.items():
        user.git("config", key, value)


def test_nothing_planted_in_a_repository_is_executed(user: GitRepository, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    plant(user, marker)
    (user.root / FILE).write_text(TRAIN)  # a fresh time stamp: plain git must look at the content
    subprocess.run(["git", "status"], cwd=user.root, check=False, capture_output=True)
    assert "fsmonitor" in marker.read_text() or "trap" in marker.read_text(), "the trap does not work"
    marker.unlink()

    repo = Repo.open(user.root)
    base = repo.head()
    user.write(FILE, TRAIN + "more\n")
    assert repo.uncommitted("") == [FILE]
    commit = repo.commit_change(base, {FILE: TRAIN.replace("line 1\n", "first\n")}, "m", trial_ref("s", "t0001"))
    exported = repo.files(commit, "models/toy")
    repo.add_worktree("worker_1", base, "models/toy")
    worktree = repo.add_worktree("worker_1", commit, "models/toy")
    assert repo.read(base, FILE) != repo.read(commit, FILE)
    repo.adopt({FILE: repo.read(base, FILE)}, {FILE: repo.read(commit, FILE)}, "adopted", "m")
    repo.heal()
    repo.remove_worktree("worker_1")

    assert not marker.exists(), marker.read_text()
    assert exported["train.py"].startswith(b"first\n")
    assert not worktree.exists()


def test_a_filter_is_not_executed_for_a_worktree_either(user: GitRepository, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    plant(user, marker)
    subprocess.run(["git", "worktree", "add", "--detach", tmp_path / "plain"], cwd=user.root, check=False)
    assert "smudge" in marker.read_text(), "the trap does not work"
    marker.unlink()
    repo = Repo.open(user.root)
    repo.add_worktree("worker_1", repo.head(), "models/toy")
    assert not marker.exists(), marker.read_text()


def test_the_callers_git_variables_lead_nowhere_else(
    user: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repository(tmp_path / "other")
    marker = tmp_path / "marker"
    before = other.fingerprint()
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git" / "index"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {marker}; :")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {marker}; :")
    repo = Repo.open(user.root)
    base = repo.head()
    commit = repo.commit_change(base, {FILE: "changed\n"}, "m", trial_ref("s", "t0001"))
    assert (repo.root, repo.common_dir) == (user.root, user.root / ".git")
    assert repo.read(base, FILE) != repo.read(commit, FILE)
    assert repo.uncommitted("") == []
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name)
    assert other.fingerprint() == before
    assert not marker.exists()


def test_the_persons_own_git_configuration_changes_nothing(
    user: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that git itself cannot read would end every command of ours."""
    (home := tmp_path / "home").mkdir()
    for broken in (home / ".gitconfig", home / "git" / "config"):
        broken.parent.mkdir(exist_ok=True)
        broken.write_text("[core\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    repo = Repo.open(user.root)
    repo.commit_change(repo.head(), {FILE: "changed\n"}, "m", trial_ref("s", "t0001"))
    assert repo.refs("s").keys() == {"t0001"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away: foreign owners are not verified")
def test_a_repository_of_another_owner_needs_the_users_word(
    user: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (user.root, user.root / ".git"):
        os.chown(path, 12345, 12345)
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with pytest.raises(NotARepository, match=r"belongs to another user: allow it with git config .*safe\.directory"):
        Repo.open(user.root)
    (tmp_path / "home" / ".gitconfig").write_text(f"[safe]\n\tdirectory = {user.root}\n")
    repo = Repo.open(user.root)
    repo.add_worktree("worker_1", repo.head(), "models/toy")
    repo.commit_change(repo.head(), {FILE: "changed\n"}, "m", trial_ref("s", "t0001"))


COMMITTER = """
import sys
from pathlib import Path
from swarm.repo import Repo, trial_ref
repo = Repo.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    text = f"{sys.argv[2]} {number}\\n"
    commit = repo.commit_change(repo.head(), {"models/toy/train.py": text}, text, trial_ref(sys.argv[2], f"t{number}"))
    print(commit, flush=True)
"""


def start_committer(user: GitRepository, name: str, commits: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMITTER, str(user.root), name, str(commits)]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_sixteen_committers_and_a_user_who_commits_do_not_meet(user: GitRepository) -> None:
    processes = [start_committer(user, f"study{number}", 2) for number in range(16)]
    users_commits = []
    while any(process.poll() is None for process in processes):
        user.write("README.md", f"edit {len(users_commits)}\n")
        users_commits.append(user.commit())
    for process in processes:
        process.communicate()
        assert process.returncode == 0

    repo = Repo.open(user.root)
    for number in range(16):
        commits = repo.refs(f"study{number}")
        assert sorted(commits) == ["t0", "t1"]
        assert [repo.read(commit, FILE) for commit in commits.values()] == [f"study{number} {n}\n" for n in range(2)]
    assert user.git("rev-list", "--count", "HEAD") == str(len(users_commits) + 1)
    assert user.git("status", "--porcelain") == ""
    user.git("fsck", "--strict")


def test_a_committer_killed_at_any_moment_leaves_a_usable_repository(user: GitRepository) -> None:
    acknowledged: dict[str, list[str]] = {}
    for attempt in range(4):
        process = start_committer(user, f"study{attempt}", 1000)
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        time.sleep(0.01 * attempt)  # another place in the cycle of git calls each time
        os.killpg(process.pid, signal.SIGKILL)
        rest = process.communicate()[0].split("\n")
        acknowledged[f"study{attempt}"] = [first, *(commit for commit in rest if len(commit) == 40)]

    repo = Repo.open(user.root)
    for path in (*user.root.glob(".git/refs/swarm/**/*.lock"), *user.root.glob(".swarm/index-*")):
        os.utime(path, (1, 1))
    repo.heal()
    assert not list(user.root.glob(".git/refs/swarm/**/*.lock")) + list(user.root.glob(".swarm/index-*"))
    for study, commits in acknowledged.items():
        assert set(commits) <= set(repo.refs(study).values())
        last = len(commits)  # claimed, perhaps committed, never acknowledged: asked for again
        text = f"{study} {last}\n"
        repo.commit_change(repo.head(), {FILE: text}, text, trial_ref(study, f"t{last}"))
    assert user.git("status", "--porcelain") == ""
    user.git("fsck", "--strict")
