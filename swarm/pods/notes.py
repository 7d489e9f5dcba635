"""The small files between the one who rents and the pod (`order.py`). All but `digest` may raise OutOfReach."""

import hashlib
import tempfile
from pathlib import Path

from pydantic import ValidationError

from swarm.pods.order import DOWN, STATE, PodReport
from swarm.pods.reach import Reach


def ask_down(reach: Reach) -> None:
    """Asks the pod to end its study, make its report and end itself."""
    put_text(reach, DOWN, "down\n")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report_of(reach: Reach) -> PodReport | None:
    """None before there is one that can be read."""
    try:
        return PodReport.model_validate_json(reach.read(STATE))
    except ValidationError:
        return None


def put_text(reach: Reach, name: str, text: str) -> None:
    """A file of a pod, whole."""
    with tempfile.TemporaryDirectory(prefix="swarm-pod-") as folder:
        path = Path(folder) / "text"
        path.write_text(text, encoding="utf-8")
        reach.put(path, name)
