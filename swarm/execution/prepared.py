"""What a target's [prepare] command has made on this machine, read for a trial: files beside those of its commit."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from swarm.errors import TrialError
from swarm.study.settings import RunSettings

MOST_BYTES = 48 << 20


def with_prepared(files: Mapping[str, bytes], settings: RunSettings) -> dict[str, bytes]:
    """The files of a commit, and what was prepared for the study. Raises TrialError where that is not what the study
    began with."""
    if settings.prepared is None:
        return dict(files)
    made = read_prepared(settings.prepared)
    if content_sha256(made) != settings.prepared_sha256:
        raise TrialError(
            f"{settings.prepared} is gone or not what this study began with, so its trials would not compare: begin a "
            "new study, which makes it again"
        )
    return {**files, **made}


def read_prepared(folder: Path) -> dict[str, bytes]:
    """Plain files below `folder`, by their paths in it; nothing where it is not there. Raises TrialError for what is no
    plain file, and above MOST_BYTES."""
    found: dict[str, bytes] = {}
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise TrialError(f"{path} is neither a plain file nor a folder: what is prepared is copied for each trial")
        if path.is_dir():
            continue
        if (total := total + path.stat().st_size) > MOST_BYTES:
            raise TrialError(f"{folder} holds more than {MOST_BYTES >> 20} MiB, and each trial gets a copy of it")
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def content_sha256(files: Mapping[str, bytes]) -> str:
    """Hash over names and contents; empty where there are none."""
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    return digest.hexdigest()
