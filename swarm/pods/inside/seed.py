"""The archive of what runs in a pod: it travels with the order, since an image knows nothing of us."""

import base64
import io
import lzma
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.pods.inside.told import ORDER_VARIABLE

SEED_VARIABLE = "SWARM_POD_SEED"
_ROOT = Path(__file__).resolve().parents[3]
_FILES = (
    "swarm/clock.py",
    "swarm/errors.py",
    "swarm/pods/entry.py",
    "swarm/supervisor/proc.py",
    "swarm/sandbox/libc.py",
)
_FOLDER = "swarm/pods/inside"
_EMPTY = ("swarm/__init__.py", "swarm/pods/__init__.py", "swarm/supervisor/__init__.py", "swarm/sandbox/__init__.py")
_MAIN = "import sys\nfrom swarm.pods.entry import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNPACK = """\
import base64, lzma, os, pathlib, sys
home = pathlib.Path(os.environ.get("SWARM_POD_HOME") or "/workspace/swarm")
home.mkdir(parents=True, exist_ok=True)
half = home / "seed.half"
half.write_bytes(lzma.decompress(base64.b64decode(os.environ.pop("SWARM_POD_SEED"))))
os.replace(half, home / "seed.pyz")
os.execv(sys.executable, [sys.executable, str(home / "seed.pyz")])
"""


@dataclass(frozen=True, slots=True)
class Start:
    """What a provider is asked to run: `command` is one string in shell quoting; `env` has no secret."""

    command: str
    env: dict[str, str]


def start_of(order: str) -> Start:
    """For an order as JSON."""
    packed = lzma.compress(seed(), preset=9 | lzma.PRESET_EXTREME)
    env = {ORDER_VARIABLE: order, SEED_VARIABLE: base64.b64encode(packed).decode()}
    return Start(f"python3 -c {shlex.quote(_UNPACK)}", env)


def seed() -> bytes:
    """A zip that python runs, the same bytes for the same code. Stored, so that it packs better as a whole."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in _files():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return packed.getvalue()


def _files() -> Iterator[tuple[str, str]]:
    yield "__main__.py", _MAIN
    yield from ((name, "") for name in _EMPTY)
    found = [*(_ROOT / name for name in _FILES), *(_ROOT / _FOLDER).glob("*.py")]
    yield from ((path.relative_to(_ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in sorted(found))
