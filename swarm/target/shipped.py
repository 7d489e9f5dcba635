"""The targets that come with the program: `models/` of a checkout, the same folders as data in an installed wheel."""

from pathlib import Path

from swarm.errors import TargetError

_HERE = Path(__file__).resolve().parent


def shipped_targets(package: Path = _HERE) -> Path:
    """The folder that holds one folder a target. To be copied from, never written to. TargetError when there is none.

    `package` is the folder of this module: swarm/target.
    """
    for folder in (package / "home", package.parents[1] / "models"):
        if any(folder.glob("*/target.toml")):
            return folder
    raise TargetError(f"this installation brings no targets: neither {package / 'home'} nor a checkout's models/")
