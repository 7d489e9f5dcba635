"""A supervisor that no zygote forked warms itself: one import for all phases, and none of it without a limit."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.trial_programs import Programs

from swarm.errors import TrialLost
from swarm.trial.contract import code_root

SAY_WHETHER_WARM = "import sys; print('warm' if 'warmth' in sys.modules else 'cold')\n"
GATHER = """
from pathlib import Path
from swarm.supervisor.warm import gather_memory

def huge_kib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:"))

kept = [bytes([number % 256]) * 100_000 for number in range(200)]
before = huge_kib()
gather_memory()
assert kept == [bytes([number % 256]) * 100_000 for number in range(200)]
print(huge_kib() - before)
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    built = Programs(tmp_path)
    built.folder.mkdir()
    built.modules.mkdir()
    yield built
    built.close()


def run(programs: Programs, preload: str):
    (programs.modules / "warmth.py").write_text(preload)
    phases = [programs.phase(SAY_WHETHER_WARM, name) for name in ("train", "score")]
    return programs.run(*phases, preload="warmth")


def supervisor_log(programs: Programs) -> str:
    return programs.log("supervisor")


def test_phases_find_imported_what_their_supervisor_has_imported(programs: Programs) -> None:
    result = run(programs, "def assert_forkable(): pass\n")
    assert [phase.ending for phase in result.phases] == ["ok", "ok"]
    assert (programs.log("train").split(), programs.log("score").split()) == (["warm"], ["warm"])


@pytest.mark.parametrize(
    "preload", ["import no_such_library", "def assert_forkable(): raise SystemExit('has threads')"]
)
def test_phases_start_interpreters_where_the_supervisor_cannot_warm_itself(programs: Programs, preload: str) -> None:
    result = run(programs, preload)
    assert [phase.ending for phase in result.phases] == ["ok", "ok"]
    assert programs.log("train").split() == ["cold"]
    assert "each phase starts an interpreter of its own" in supervisor_log(programs)


def test_a_supervisor_whose_imports_hang_ends(programs: Programs) -> None:
    (programs.modules / "sitecustomize.py").write_text(
        f"import sys\nsys.path.append({str(code_root())!r})\nfrom swarm.supervisor import warm\nwarm.WARM_LIMIT_S = 1\n"
    )
    with pytest.raises(TrialLost):
        run(programs, "import time\ntime.sleep(60)\n")


def test_gathered_memory_is_as_it_was_and_lies_in_huge_pages() -> None:
    told = subprocess.run(
        [sys.executable, "-c", GATHER], check=True, capture_output=True, text=True, cwd=code_root()
    ).stdout
    if int(told) == 0:
        pytest.skip("this kernel has no huge pages on demand: what a fork costs with them is not verified")
    assert int(told) > 10_000
