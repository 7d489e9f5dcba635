"""Small files of several swarms under `refs/swarm/findings/` of any git remote: one ref a swarm, one flat tree a ref.

What comes from there is data, as in `taking`: nothing is checked out, git checks each object, and sizes are bounded.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from swarm.errors import RepoError
from swarm.repo.git import Git
from swarm.repo.taking import CAREFUL, FETCH_LIMIT_S

REFS = "refs/swarm/findings/"
MAX_PACK_MIB = 64
MAX_FILES = 5000
_NAME = re.compile(r"[0-9a-f]{64}\.json(\.sig)?")
_SWARM = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def fetched(address: str, limit_bytes: int, env: Mapping[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """(swarm, file name, content) of all that is there and has a name as it should, MAX_FILES a swarm; larger files are
    left out, links and folders too. Raises RepoError for a remote that cannot be read or is no plain address."""
    with tempfile.TemporaryDirectory(prefix="swarm-findings-") as folder:
        git = _bare(Path(folder))
        _fetch(git, address, env)
        for line in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/incoming/").decode().splitlines():
            commit, ref = line.split(" ", 1)
            swarm = ref.removeprefix("refs/incoming/")
            if _SWARM.fullmatch(swarm):
                yield from ((swarm, name, body) for name, body in _files(git, commit, limit_bytes))


def pushed(address: str, swarm: str, files: Mapping[str, bytes], env: Mapping[str, str]) -> int:
    """Adds files to the swarm's own ref; how many are new. Raises RepoError, also when somebody else moved the ref."""
    if not _SWARM.fullmatch(swarm):
        raise RepoError(f"{swarm!r} is no name of a swarm: small letters, digits and -")
    with tempfile.TemporaryDirectory(prefix="swarm-findings-") as folder:
        git = _bare(Path(folder))
        _fetch(git, address, env)
        ours = f"refs/incoming/{swarm}"
        before = git.line("for-each-ref", "--format=%(objectname)", ours)
        entries = {}
        if before:
            for line in git.fields("ls-tree", "-z", before):
                told, name = line.split("\t", 1)
                entries[name] = told
        new = {name: body for name, body in files.items() if name not in entries}
        if not new:
            return 0
        for name, body in new.items():
            entries[name] = f"100644 blob {git.line('hash-object', '-w', '--stdin', stdin=body)}"
        listing = "".join(f"{told}\t{name}\n" for name, told in sorted(entries.items()))
        tree = git.line("mktree", stdin=listing.encode())
        parents = ["-p", before] if before else []
        commit = git.line("commit-tree", tree, *parents, "-m", f"{swarm}: {len(new)} files")
        replace(git, timeout_s=FETCH_LIMIT_S)("push", "--quiet", address, f"{commit}:{REFS}{swarm}", env=env)
        return len(new)


def _bare(folder: Path) -> Git:
    git = Git(folder, flags=CAREFUL)
    git("init", "--quiet", "--bare")
    return git


def _fetch(git: Git, address: str, env: Mapping[str, str]) -> None:
    if address.startswith("-"):
        raise RepoError(f"{address!r} is no address of a repository")
    careful = replace(git, timeout_s=FETCH_LIMIT_S, file_limit_mib=MAX_PACK_MIB)
    careful("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", address, f"+{REFS}*:refs/incoming/*", env=env)


def _files(git: Git, commit: str, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    listed = git.fields("ls-tree", "-z", "-l", commit)
    for line in listed[:MAX_FILES]:
        told, name = line.split("\t", 1)
        mode, kind, blob, size = told.split()
        if mode == "100644" and kind == "blob" and _NAME.fullmatch(name) and int(size) <= limit_bytes:
            yield name, git("cat-file", "blob", blob)
