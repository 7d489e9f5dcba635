"""Results to a git remote, from inside the pod: trial commits, and the brain on a branch of the pod's own.

    python -m swarm.pods.inside.push

For a pod that nobody can reach, or whose renter is asleep. Nothing is forced: a remote that has other commits under
these names keeps them. The token, if there is one, goes in a header that no command line shows.
"""

import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarm.pods.inside.home import Home
from swarm.pods.inside.told import home_of, order_here

TOKEN_VARIABLE = "SWARM_POD_GIT_TOKEN"
BRANCHES = "refs/heads/swarm-pods/"
_CALL_LIMIT_S = 50.0
_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "protocol.ext.allow=never")
_REPORT = "report.md"


class PushFailed(Exception):
    """Git said no; the message is its last line."""


def main(_: Sequence[str] = ()) -> int:
    home, order = Home(home_of(os.environ)), order_here()
    try:
        push(home, order.sync.url or "", order.pod_name, os.environ)
    except (PushFailed, OSError, subprocess.TimeoutExpired) as problem:
        print(f"push: {problem}")
        return 1
    return 0


def push(home: Home, url: str, pod_name: str, environment: Mapping[str, str]) -> None:
    """All that there is now. Raises PushFailed, OSError and TimeoutExpired."""
    if not url or url.startswith("-"):
        raise PushFailed(f"{url!r} is no address of a repository")
    branch = f"{BRANCHES}{pod_name}"
    _commit(home, branch)
    git = _with_token(environment)
    _git(home, git, "push", "--quiet", "--no-verify", "--", url, "refs/swarm/*:refs/swarm/*", f"{branch}:{branch}")


def _commit(home: Home, branch: str) -> None:
    """The brain as it is now, the report and the state, behind what was committed before. Nothing is checked out."""
    plain = _plain()
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        index = {**plain, "GIT_INDEX_FILE": str(Path(folder) / "index")}
        whole = Path(folder) / "brain"
        brain = home.brain.read_bytes() if home.brain.exists() else b""
        whole.write_bytes(brain[: brain.rfind(b"\n") + 1])  # the last line may be half written
        for name, path in ((home.brain.name, whole), (_REPORT, home.report / _REPORT), (home.state.name, home.state)):
            if path.is_file():
                blob = _git(home, plain, "hash-object", "-w", "--no-filters", str(path))
                _git(home, index, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        tree = _git(home, index, "write-tree")
    before = _git(home, plain, "for-each-ref", "--format=%(objectname)", branch)
    if before and _git(home, plain, "rev-parse", f"{before}^{{tree}}") == tree:
        return
    parents = ("-p", before) if before else ()
    commit = _git(home, plain, "commit-tree", tree, *parents, "-m", "results so far")
    _git(home, plain, "update-ref", branch, commit)


def _plain() -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "swarm" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **who}


def _with_token(environment: Mapping[str, str]) -> dict[str, str]:
    """For the push alone: the person's own git configuration and keys, and the token as a header."""
    passed = {name: environment[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in environment}
    git = {**_plain(), **passed}
    if token := environment.get(TOKEN_VARIABLE):
        header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        git |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader"}
        git |= {"GIT_CONFIG_VALUE_0": f"Authorization: Basic {header}"}
    return git


def _git(home: Home, environment: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(
        [*_GIT, "-C", str(home.repo), *words], env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", timeout=_CALL_LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise PushFailed(f"git {words[0]} ended with {done.returncode}: {said[-1][:300] if said else 'no message'}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
