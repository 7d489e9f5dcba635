import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.git_repository import TRAIN, GitRepository, make_repository

from swarm.errors import GitTimeout, GitTooOld, MergeConflict, NotARepository, RepoError
from swarm.repo import Repo, trial_ref
from swarm.repo import repository as repository_module
from swarm.repo.git import Git

FILE = "models/toy/train.py"
REF = trial_ref("study-1", "t0001")


@pytest.fixture(params=["repo", "mit Leerzeichen und ü"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> GitRepository:
    return make_repository(tmp_path / request.param)


@pytest.fixture
def repo(user: GitRepository) -> Repo:
    return Repo.open(user.root)


def edited(number: int, text: str = "edited") -> str:
    return TRAIN.replace(f"line {number}\n", f"{text} {number}\n")


def test_a_change_is_committed_without_touching_what_is_the_users(user: GitRepository, repo: Repo) -> None:
    user.write("README.md", "uncommitted edit\n")
    user.write("staged.txt", "staged\n")
    user.git("add", "staged.txt")
    before = user.fingerprint()
    base = repo.head()

    commit = repo.commit_change(base, {FILE: edited(3)}, "Größere Breite", REF)

    assert user.fingerprint() == before
    assert repo.read(commit, FILE) == edited(3)
    assert repo.read(base, FILE) == TRAIN
    assert repo.refs("study-1") == {"t0001": commit}
    assert repo.refs("study") == {}
    assert user.git("diff", "--name-only", base, commit) == FILE
    assert user.git("log", "-1", "--format=%an <%ae>|%cn|%s|%P", commit) == (
        f"swarm <swarm@localhost>|swarm|Größere Breite|{base}"
    )
    assert list((user.root / ".swarm").iterdir()) == [user.root / ".swarm" / ".gitignore"]


def test_the_mode_of_the_file_stays(user: GitRepository, repo: Repo) -> None:
    (user.root / FILE).chmod(0o755)
    base = user.commit()
    commit = repo.commit_change(base, {FILE: edited(1)}, "m", REF)
    assert user.git("ls-tree", commit, FILE).startswith("100755")


def test_a_ref_is_created_once_and_asking_again_is_harmless(user: GitRepository, repo: Repo) -> None:
    base = repo.head()
    first = repo.commit_change(base, {FILE: edited(1)}, "m", REF)
    assert repo.commit_change(base, {FILE: edited(1)}, "later", REF) == first
    with pytest.raises(RepoError, match=f"cannot be created .* it holds {first}"):
        repo.commit_change(base, {FILE: edited(2)}, "m", REF)
    assert repo.refs("study-1") == {"t0001": first}


def test_a_trial_commit_goes_nowhere_else(repo: Repo) -> None:
    with pytest.raises(RepoError, match="below refs/swarm/"):
        repo.commit_change(repo.head(), {FILE: edited(1)}, "m", "refs/heads/main")
    for bad in ("../x", "", "a b", "x.lock", "-x", "a..b"):
        with pytest.raises(RepoError, match="git ref"):
            trial_ref("study", bad)


def test_a_commit_may_add_a_file_and_remove_another(repo: Repo) -> None:
    commit = repo.commit_change(repo.head(), {"models/toy/new.py": "x\n", FILE: None}, "m", REF)
    assert sorted(repo.files(commit, "models/toy")) == ["new.py", "target.toml"]
    assert repo.read(commit, "models/toy/new.py") == "x\n"


def test_a_trial_gets_the_bytes_of_the_commit(user: GitRepository, repo: Repo) -> None:
    user.write("models/toy/sub/ü ä.txt", "deep\n")
    (user.root / "models/toy/raw.bin").write_bytes(b"\0\r\n\xff")
    user.write(".gitattributes", "*.txt text eol=lf export-ignore\n*.py export-subst\n")
    commit = user.commit()
    user.write("models/toy/stray.txt", "not committed")
    files = repo.files(commit, "models/toy")
    assert sorted(files) == ["raw.bin", "sub/ü ä.txt", "target.toml", "train.py"]
    assert files["raw.bin"] == b"\0\r\n\xff"
    with pytest.raises(RepoError, match="no files below models/nope"):
        repo.files(commit, "models/nope")


def test_a_link_out_of_the_folder_is_refused(user: GitRepository, repo: Repo) -> None:
    (user.root / "models/toy/link").symlink_to("/etc/passwd")
    commit = user.commit()
    with pytest.raises(RepoError, match="models/toy/link is a symbolic link"):
        repo.files(commit, "models/toy")
    with pytest.raises(RepoError, match="models/toy/link is no plain file"):
        repo.read(commit, "models/toy/link")


def test_uncommitted_sees_edits_additions_and_deletions_below_the_prefix_only(user: GitRepository, repo: Repo) -> None:
    assert repo.uncommitted("models/toy") == []
    os.utime(user.root / FILE, (1, 1))
    assert repo.uncommitted("models/toy") == []
    user.write(".gitignore", "*.log\n")
    user.write("README.md", "outside")
    user.write("models/toy/run.log", "ignored")
    user.write("models/toy/.train.py.swp", "editor")
    user.write("models/toy/__pycache__/a.pyc", "python")
    assert repo.uncommitted("models/toy") == []
    user.write(FILE, edited(1))
    user.write("models/toy/ü new.py", "")
    user.write("models/toy/staged.py", "")
    user.git("add", "models/toy/staged.py")
    (user.root / "models/toy/target.toml").unlink()
    assert repo.uncommitted("models/toy") == [
        *("models/toy/staged.py", "models/toy/target.toml", FILE, "models/toy/ü new.py")
    ]


def test_a_worktree_holds_the_targets_folder_only(user: GitRepository, repo: Repo) -> None:
    before = user.fingerprint()
    base = repo.head()
    path = repo.add_worktree("worker_1", base, "models/toy")

    assert path == user.root / ".swarm" / "worktrees" / "worker_1"
    assert files_in(path) == [".git", "models/toy/target.toml", FILE]
    inside = GitRepository(path)
    assert inside.git("status", "--porcelain") == ""
    assert inside.git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"

    (path / FILE).write_text(edited(2))
    (path / "stray").mkdir()
    (path / "stray" / "file").write_text("x")
    (path / "stray").chmod(0o500)
    (path / ".git").write_text("gitdir: /nowhere\n")
    commit = repo.commit_change(base, {FILE: edited(5)}, "m", REF)
    assert repo.add_worktree("worker_1", commit, "models/toy") == path
    assert files_in(path) == [".git", "models/toy/target.toml", FILE]
    assert (path / FILE).read_text() == edited(5)
    assert inside.git("rev-parse", "HEAD") == commit
    assert inside.git("status", "--porcelain") == ""

    repo.remove_worktree("worker_1")
    repo.remove_worktree("worker_1")
    assert not path.exists()
    assert user.git("worktree", "list").count("\n") == 0
    assert user.fingerprint() == before


def test_worktrees_survive_loss_and_stale_locks(user: GitRepository, repo: Repo) -> None:
    base = repo.head()
    first = repo.add_worktree("worker_1", base, "models/toy")
    second = repo.add_worktree("worker_2", base, "models/toy")
    theirs = user.root.parent / "the user's own"
    user.git("worktree", "add", "-q", "--detach", str(theirs))
    for folder in (first, theirs):
        subprocess.run(["rm", "-rf", folder], check=True)
    lock = user.root / ".git" / "worktrees" / "worker_2" / "index.lock"
    own_lock = user.root / ".git" / "index.lock"
    ref_lock = user.root / ".git" / "refs" / "swarm" / "study-1" / "t0001.lock"
    ref_lock.parent.mkdir(parents=True)
    for path in (lock, own_lock, ref_lock):
        path.touch()

    assert repo.heal() == [f"removed git's entry of the missing worktree {first}"]  # the locks are young
    for path in (lock, own_lock, ref_lock):
        os.utime(path, (1, 1))
    with lock.open():
        assert repo.heal() == [f"removed the stale {ref_lock}"]
    assert repo.heal() == [f"removed the stale {lock}"]
    assert own_lock.exists() and "the user's own" in user.git("worktree", "list")

    lock.touch()
    assert repo.add_worktree("worker_2", base, "models/toy") == second
    assert repo.add_worktree("worker_1", base, "models/toy") == first
    assert files_in(first) == files_in(second)
    with pytest.raises(RepoError, match="name of a worktree"):
        repo.add_worktree("../x", base, "models/toy")


def test_a_merge_combines_edits_and_names_the_conflict(repo: Repo) -> None:
    assert repo.merge(TRAIN, edited(2), edited(18)) == edited(2).replace("line 18\n", "edited 18\n")
    assert repo.merge("a\r\n", "a\r\n", "ü\r\n") == "ü\r\n"
    with pytest.raises(MergeConflict, match=r"(?s)overlap in 1 place.*ours.*edited 2.*other 2"):
        repo.merge(TRAIN, edited(2), edited(2, "other"))


def test_adopt_puts_the_change_of_a_trial_onto_what_the_user_has_now(user: GitRepository, repo: Repo) -> None:
    base = repo.head()
    user.write(FILE, edited(19, "user"))
    user.commit()
    user.write("README.md", "uncommitted\n")
    branches = user.git("branch")
    before = user.fingerprint()

    adopted = repo.adopt({FILE: TRAIN}, {FILE: edited(2)}, "swarm/t0001", "Adopt t0001")

    assert repo.read(adopted, FILE) == edited(19, "user").replace("line 2\n", "edited 2\n")
    assert user.git("rev-parse", "swarm/t0001") == adopted
    assert user.git("rev-parse", f"{adopted}^") == repo.head()
    assert user.fingerprint()[1:] == before[1:]
    assert user.git("branch").replace("\n  swarm/t0001", "") == branches
    with pytest.raises(RepoError, match=r"'swarm/t0001' cannot be created.*Choose another name"):
        repo.adopt({FILE: TRAIN}, {FILE: edited(2)}, "swarm/t0001", "again")
    for bad in ("-f", "a b", "", "main"):
        with pytest.raises(RepoError, match="cannot be created"):
            repo.create_branch(bad, base)
    user.write(FILE, edited(2, "user"))
    user.commit()
    with pytest.raises(MergeConflict):
        repo.adopt({FILE: TRAIN}, {FILE: edited(2)}, "other", "m")
    assert "other" not in user.git("branch")


def test_states_of_a_repository(tmp_path: Path) -> None:
    with pytest.raises(NotARepository, match="not in a git repository: run git init"):
        Repo.open(tmp_path)
    with pytest.raises(NotARepository, match="not a folder"):
        Repo.open(tmp_path / "nowhere")

    empty = make_repository(tmp_path / "empty", commit=False)
    with pytest.raises(RepoError, match="no commit yet: commit your files first"):
        Repo.open(empty.root).head()

    full = make_repository(tmp_path / "full")
    with pytest.raises(NotARepository, match=r"inside a \.git folder"):
        Repo.open(full.root / ".git")
    assert Repo.open(full.root / "models" / "toy").root == full.root
    full.git("checkout", "-q", "--detach")
    full.write("README.md", "detached\n")
    detached = full.commit()
    assert Repo.open(full.root).head() == detached

    subprocess.run(["git", "clone", "-q", "--bare", full.root, tmp_path / "bare"], check=True)
    with pytest.raises(NotARepository, match=r"bare repository: .* clone it"):
        Repo.open(tmp_path / "bare")

    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{full.root}", tmp_path / "shallow"], check=True)
    shallow = Repo.open(tmp_path / "shallow")
    assert shallow.refs("s") == {}
    shallow.commit_change(shallow.head(), {FILE: edited(1)}, "m", REF)

    full.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    linked = Repo.open(tmp_path / "linked")
    assert (linked.root, linked.common_dir) == (tmp_path / "linked", full.root / ".git")
    assert files_in(linked.add_worktree("worker_1", linked.head(), "models/other")) == [".git", "models/other/train.py"]


def test_sha256_repositories_work(tmp_path: Path) -> None:
    root = tmp_path / "sha256"
    subprocess.run(["git", "init", "-q", "--object-format=sha256", root], check=True)
    user = GitRepository(root)
    user.write(FILE, TRAIN)
    user.commit()
    repo = Repo.open(root)
    assert repo.uncommitted("") == []
    assert len(repo.commit_change(repo.head(), {FILE: edited(1)}, "m", REF)) == 64


def test_the_git_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_repository(tmp_path / "repo")
    path = os.environ["PATH"]
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()

    monkeypatch.setenv("PATH", str(shim.parent))
    with pytest.raises(RepoError, match=r"git is not on the PATH: install git 2\.20"):
        Repo.open(user.root)

    monkeypatch.setenv("PATH", f"{shim.parent}:{path}")
    shim.write_text("#!/bin/sh\necho git version 2.19.6\n")
    shim.chmod(0o755)
    with pytest.raises(GitTooOld, match=r"git version 2\.19\.6.*install git 2\.20"):
        Repo.open(user.root)


def test_a_git_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    pids = tmp_path / "pids"
    # A process of another session is out of reach, but it must not hold us up through the pipe it inherited.
    escape = f"setsid sh -c 'echo $$ >> {pids}; exec sleep 15' &"
    shim.write_text(f"#!/bin/sh\necho $$ >> {pids}\nsleep 15 &\necho $! >> {pids}\n{escape}\nwait\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    with pytest.raises(GitTimeout, match=r"git status in .* did not end within 1 s and was killed"):
        Git(tmp_path, timeout_s=1)("status")
    git, child, escaped = (int(pid) for pid in pids.read_text().split())
    assert is_running(escaped)
    os.kill(escaped, signal.SIGKILL)
    for pid in (git, child):
        assert ends_soon(pid)


def test_the_lock_names_its_file_when_it_stays_held(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_module, "LOCK_TIMEOUT_S", 0.05)
    lock = repo.common_dir / "swarm.lock"
    program = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(GitTimeout, match=r"swarm\.lock was held by another process"):
            repo.commit_change(repo.head(), {FILE: edited(1)}, "m", REF)
        holder.kill()
    repo.commit_change(repo.head(), {FILE: edited(1)}, "m", REF)
    assert lock.exists()


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends_soon(pid: int) -> bool:
    """The kernel takes a moment between the signal and the end."""
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)
