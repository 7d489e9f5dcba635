"""Where the trusted harness lies, and what it is: two results compare only under equal hashes."""

import hashlib
from pathlib import Path


def harness_root() -> Path:
    """The folder of the trusted harness: in this package, never the candidate's copy."""
    return Path(__file__).resolve().parents[1] / "harness"


def harness_sha256() -> str:
    """Hash over the harness's source files, names and contents, in order."""
    digest = hashlib.sha256()
    for path in sorted(harness_root().rglob("*.py")):
        digest.update(path.relative_to(harness_root()).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
