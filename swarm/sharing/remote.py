"""Where findings lie: any git remote, a folder, or a folder behind https.

FOLDER/SWARM/ID.json, ID.json.sig     and, behind https, FOLDER/index.txt with one SWARM/ID.json a line
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import ShareError
from swarm.repo.findings import fetched, pushed
from swarm.sharing.finding import MAX_FILE_BYTES
from swarm.trial.files import Unreadable, read_plain, write_whole

MAX_FINDINGS = 2000  # of one swarm, a fetch
_LISTED = re.compile(r"[a-z0-9][a-z0-9-]{0,39}/[0-9a-f]{64}\.json")
_HTTP_LIMIT_S = 20.0


@dataclass(frozen=True)
class Letter:
    """One file as it lay there, nothing of it checked: `swarm` and `name` are what its place says."""

    swarm: str
    name: str
    body: bytes
    signature: bytes


def letters(address: str) -> Iterator[Letter]:
    """At most MAX_FINDINGS a swarm: whoever floods a remote keeps nobody else from being heard. Raises ShareError and
    RepoError."""
    files: dict[tuple[str, str], bytes] = {}
    counts: Counter[str] = Counter()
    for swarm, name, body in _files(address):
        counts[swarm] += 1
        if counts[swarm] <= 2 * MAX_FINDINGS:
            files[swarm, name] = body
    for (swarm, name), body in files.items():
        if name.endswith(".json"):
            yield Letter(swarm, name, body, files.get((swarm, f"{name}.sig"), b""))


def post(address: str, swarm: str, files: Mapping[str, bytes]) -> int:
    """Adds files to those of `swarm`; how many are new. Raises ShareError and RepoError."""
    if _is_http(address):
        raise ShareError(f"{address} can be read only: publish into its folder, or into a git remote")
    if not (folder := Path(address)).is_dir() or _is_git(folder):
        return pushed(address, swarm, files, _surroundings())
    (folder / swarm).mkdir(exist_ok=True)
    new = {name: body for name, body in files.items() if not (folder / swarm / name).exists()}
    for name, body in new.items():
        write_whole(folder / swarm / name, body.decode())
    listed = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.json"))
    write_whole(folder / "index.txt", "".join(f"{line}\n" for line in listed))
    return len(new)


def _files(address: str) -> Iterator[tuple[str, str, bytes]]:
    if _is_http(address):
        yield from _over_http(address.rstrip("/"))
    elif (folder := Path(address)).is_dir() and not _is_git(folder):
        for path in sorted(folder.glob("*/*.json*")):
            try:
                yield path.parent.name, path.name, read_plain(path, MAX_FILE_BYTES)
            except Unreadable:
                continue
    else:
        yield from fetched(address, MAX_FILE_BYTES, _surroundings())


def _over_http(address: str) -> Iterator[tuple[str, str, bytes]]:
    import httpx2

    def content(path: str, limit: int) -> bytes:
        got = b""
        with client.stream("GET", f"{address}/{path}") as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                got += piece
                if len(got) > limit:
                    raise ShareError(f"{address}/{path} has more than {limit} bytes")
        return got

    try:
        with httpx2.Client(timeout=_HTTP_LIMIT_S, follow_redirects=False) as client:
            lines = content("index.txt", 1 << 20).decode(errors="replace").splitlines()
            for line in lines[:MAX_FINDINGS]:
                if _LISTED.fullmatch(line):
                    swarm, name = line.split("/")
                    yield swarm, name, content(line, MAX_FILE_BYTES)
                    yield swarm, f"{name}.sig", content(f"{line}.sig", MAX_FILE_BYTES)
    except httpx2.HTTPError as error:
        raise ShareError(f"{address} cannot be read: {type(error).__name__}: {error}") from None


def _is_http(address: str) -> bool:
    return address.startswith(("https://", "http://127.0.0.1:")) and not address.endswith(".git")


def _is_git(folder: Path) -> bool:
    return (folder / ".git").exists() or ((folder / "objects").is_dir() and (folder / "HEAD").is_file())


def _surroundings() -> dict[str, str]:
    """For git's ssh, which finds keys and known hosts by itself."""
    return {"HOME": str(Path.home()), **{n: v for n in ("SSH_AUTH_SOCK",) if (v := os.environ.get(n)) is not None}}
