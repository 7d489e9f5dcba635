"""Findings with real SSH keys."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.sharing.finding import identity
from swarm.sharing.remote import Letter
from swarm.sharing.signing import NAMESPACE, sign

HARNESS, DATA = "a" * 64, "b" * 64


@dataclass(frozen=True)
class Swarm:
    """A name and its key."""

    name: str
    key: Path

    @classmethod
    def made(cls, folder: Path, name: str) -> "Swarm":
        key = folder / f"{name}.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
        return cls(name, key)

    def accepted_line(self, name: str | None = None) -> str:
        return f'{name or self.name} namespaces="{NAMESPACE}" {self.key.with_suffix(".key.pub").read_text()}'

    def letter(self, body: bytes, *, swarm: str | None = None, name: str | None = None) -> Letter:
        return Letter(swarm or self.name, name or f"{identity(body)}.json", body, sign(body, self.key))


def fields(**more: Any) -> dict[str, Any]:
    return {
        "kind": "swarm-finding-1",
        "swarm": "friends",
        "at": 1.0,
        "target": "tiny",
        "harness_sha256": HARNESS,
        "data_sha256": DATA,
        "base_tree_sha256": "c" * 64,
        "edits": [{"path": "train.py", "search": "MAX_LR = 0.1", "replace": "MAX_LR = 0.2"}],
        "measured": {"metric": "loss", "direction": "minimize", "runs": 5, "mean": 1.0, "base_mean": 2.0},
        "standing": "kept",
        "device_class": "CPU",
        "budget": "640 samples",
        **more,
    }


def body(**more: Any) -> bytes:
    return json.dumps(fields(**more)).encode()
