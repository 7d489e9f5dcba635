from pathlib import Path

import pytest

from swarm.errors import TargetError
from swarm.target.file import load_target
from swarm.target.shipped import shipped_targets

ROOT = Path(__file__).parents[3]


def test_in_a_checkout_they_are_its_models() -> None:
    assert shipped_targets() == ROOT / "models"
    assert load_target("resnext", shipped_targets().parent).name == "resnext"


def test_in_an_installed_wheel_they_lie_beside_the_code(tmp_path: Path) -> None:
    """Whatever else is called `models` there."""
    package = tmp_path / "site-packages" / "swarm" / "target"
    for folder in (package / "home", tmp_path / "site-packages" / "models"):
        (folder / "toy").mkdir(parents=True)
        (folder / "toy" / "target.toml").touch()
    assert shipped_targets(package) == package / "home"


def test_an_installation_without_any_says_so(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="brings no targets"):
        shipped_targets(tmp_path / "swarm" / "target")
