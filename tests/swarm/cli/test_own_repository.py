"""From an empty folder to a ranked report: the blocks of the tutorial, as they stand, with the wheel in an environment
of its own."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs/tutorial/your-own-repository.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and numpy, and none of the libraries for training."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], check=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    into = ["--python", str(folder / "env" / "bin" / "python"), "install", "-q", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *into, str(wheel), "numpy"], check=True, timeout=600)
    return folder / "env" / "bin"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_leads_to_a_ranked_report_as_it_stands(installed: Path, tmp_path: Path) -> None:
    environment = {
        "PATH": f"{installed}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SWARM_GPU_DIR": str(tmp_path / "gpu"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    here, said = tmp_path, []
    blocks = BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))
    assert len(blocks) == 6
    for block in blocks:
        done = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=here, env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (block, done.stdout[-3000:], done.stderr[-3000:])
        said.append(done.stdout)
        here = tmp_path / "wave"
    assert "Baseline: rmse" in said[1] and "self-reported" in said[1]
    report = (here / "report" / "report.md").read_text(encoding="utf-8")
    assert "Self-reported: each number is what the program printed" in report
    page = html.unescape((here / "report" / "report.html").read_text(encoding="utf-8"))
    assert "guard size <= 7 fails: 8" in page, "a better error is not kept, and the report says so"
    kept = re.findall(r"^\| \d+ \| (t\d+) \|.*\| kept \|", report, re.MULTILINE)
    assert len(kept) <= 1 and "standing" in report
    assert "refused" in said[4] and "FAIL" not in said[4]
    assert "graded" in said[5] and "mse" in said[5]
