"""`torch.compile` in a trial: who may, who falls back and says so, and what it costs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from swarm.harness import compiler
from swarm.harness.budget import TimeMeter, cpu_time, free_setup_s, meter_for
from swarm.harness.solo import FREE_BUILD_S, SoloMeter
from swarm.sandbox import landlock
from swarm.supervisor.environment import phase_environment
from swarm.supervisor.spec import PhaseSpec, TrialSpec
from swarm.trial.config import WorkBudget
from swarm.trial.contract import code_root

COMPILES = "model = torch.compile(model)"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(COMPILES)
    return path


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch._dynamo.config as settings

    before = settings.disable, settings.suppress_errors
    yield
    settings.disable, settings.suppress_errors = before
    torch._dynamo.reset()


def compilers(folder: Path, *names: str, says: str = "exit 0") -> str:
    """A PATH with these on it."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{says}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("device", "on_path", "says", "reason"),
    [
        ("cpu", ("g++",), "exit 0", ""),
        ("cpu", ("gcc", "clang"), "exit 0", "there is no compiler: g++ is not on PATH"),
        ("cuda", ("clang",), "exit 0", ""),
        ("cuda", (), "exit 0", "there is no compiler: gcc or clang or cc is not on PATH"),
        ("cpu", ("g++",), "exit 3", "g++ --version ended with 3"),
    ],
)
def test_a_compiler_has_to_be_there_and_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, on_path: tuple[str, ...], says: str, reason: str
) -> None:
    monkeypatch.setenv("PATH", compilers(tmp_path / "bin", *on_path, says=says))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    assert reason in compiler.why_not(device) and bool(reason) == bool(compiler.why_not(device))


def test_another_compiler_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", compilers(tmp_path / "bin", "clang++"))
    monkeypatch.setenv("CXX", "clang++")
    assert compiler.why_not("cpu") == ""


def test_where_no_child_may_be_started_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "posix_spawn", refused)
    assert "may start no compiler here" in compiler.why_not("cpu")


def test_without_a_compiler_the_program_runs_as_it_is_written_and_says_so(
    program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no compiler" in compiler.prepare(program, "cpu")
    assert "torch.compile does nothing here: there is no compiler" in capfd.readouterr().err
    model = nn.Linear(4, 2)
    torch._dynamo.utils.counters.clear()
    assert torch.equal(torch.compile(model)(torch.ones(1, 4)), model(torch.ones(1, 4)))
    assert not torch._dynamo.utils.counters["frames"], "nothing was even tried"


def test_what_torch_cannot_compile_runs_uncompiled_and_says_so(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "why_not", lambda device: "")
    compiler.prepare(program, "cpu")
    torch._dynamo.utils.counters.clear()

    def broken(graph: object, inputs: object) -> Callable[[], None]:
        raise RuntimeError("a backend that fails")

    model = nn.Linear(4, 2)
    assert torch.equal(torch.compile(model, backend=broken)(torch.ones(1, 4)), model(torch.ones(1, 4)))
    assert compiler.failed()
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))  # another function, and that one works
    assert not compiler.failed()


def test_a_program_that_compiles_nothing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("call = compiled(Net())  # it has a fallback of its own")
    monkeypatch.setattr(compiler, "why_not", lambda device: pytest.fail("nobody asked"))
    assert compiler.prepare(tmp_path / "train.py", "cpu") == ""
    assert compiler.prepare(tmp_path / "missing.py", "cpu") == ""


class Device:
    """A GPU's clock, as the meter sees it, and the gate of a device that nobody else is on."""

    waited_s = 0.0

    def __init__(self) -> None:
        self.clock_s = 0.0

    def now(self) -> float:
        return self.clock_s

    def synchronize(self) -> None:
        pass

    def close(self) -> bool:
        return True

    def open(self) -> None:
        pass

    def step_boundary(self, device: object) -> None:
        pass


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("setup_s", "compiled_s", "charged_s"),
    [
        (FREE_BUILD_S, 0.0, 0.0),
        (50.0, 0.0, 50.0 - FREE_BUILD_S),  # who trains before the clock starts
        (50.0, 45.0, 0.0),
        (50.0, 20.0, 20.0),
        (100.0, 95.0, 40.0),  # a minute is free and no more
    ],
)
def test_the_free_minute_on_a_gpu_is_for_compiling_and_not_for_training(
    shared: bool, setup_s: float, compiled_s: float, charged_s: float
) -> None:
    device = Device()
    free_s = free_setup_s(300, cpu=False)
    meter: SoloMeter | TimeMeter
    if shared:
        meter = SoloMeter(device, device, 300, free_s, compiled_s=lambda: compiled_s)
    else:
        meter = TimeMeter(device.now, free_s, lambda: compiled_s)
    meter.begin()
    device.clock_s += setup_s
    meter.start()
    assert meter.used == pytest.approx(charged_s)


def test_every_meter_of_a_gpu_asks_what_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for gate in (None, (Device(), Device())):
        made = meter_for(WorkBudget("solo_seconds", 300), gate, cpu=False)
        assert isinstance(made, SoloMeter | TimeMeter) and made._compiled_s is compiler.compiled_s


def test_a_compiler_on_the_cpu_is_on_the_budget() -> None:
    """Its time is the candidate's: no other process of it could be told from a compiler."""
    meter = meter_for(WorkBudget("solo_seconds", 10), None, cpu=True)
    meter.begin()
    meter.start()
    before, burn = cpu_time(), "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    assert cpu_time() - before >= 0.3 and meter.used >= 0.3


def test_the_seconds_of_compiling_are_torchs_own() -> None:
    before = compiler.compiled_s()
    torch._dynamo.reset()

    def slow(graph: Callable[..., object], inputs: object) -> Callable[..., object]:
        time.sleep(0.2)
        return graph

    torch.compile(nn.Linear(3, 3), backend=slow)(torch.ones(1, 3))
    assert 0.2 <= compiler.compiled_s() - before < 20


def environment(*, trusted: bool, parent: dict[str, str] | None = None) -> dict[str, str]:
    phase = PhaseSpec("train", "m", trusted=trusted, walltime_limit_s=1)
    return phase_environment(TrialSpec("s", "t", "/trials/t", (phase,)), phase, parent or {})


def test_everything_that_is_compiled_is_kept_in_scratch() -> None:
    mine = {"CUDA_CACHE_PATH": "/nowhere/.nv", "CUDA_MPS_PIPE_DIRECTORY": "/nowhere/mps"}
    found = environment(trusted=False, parent=mine)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "CUDA_MPS_PIPE_DIRECTORY"):
        assert found[name].startswith("/trials/t/scratch/"), name
    assert found["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    assert "TRITON_CACHE_DIR" not in environment(trusted=True)


MOVES = """
import os, sys
from pathlib import Path
from swarm.sandbox import SandboxPolicy, candidate_policy, landlock
landlock.abi = lambda: 1
folder = os.environ["TRITON_CACHE_DIR"]
Path(folder).mkdir()
import swarm.harness.triton_cache
from triton.runtime.cache import FileCacheManager, get_cache_manager
landlock.restrict(candidate_policy((), (folder,), gpu=False))
try:
    FileCacheManager("own").put(b"x", "kernel.cubin")
    print("moved")
except OSError as error:
    print(error.errno)
made = get_cache_manager("ab12").put(b"cubin", "kernel.cubin")
group = get_cache_manager("ab12").put_group("kernel.json", {"kernel.cubin": made})
print(Path(made).read_bytes(), get_cache_manager("ab12").get_group("kernel.json") == {"kernel.cubin": made})
print(sorted(path.name for path in Path(made).parent.iterdir()))
"""


@pytest.mark.skipif(landlock.abi() < 1, reason="no Landlock here: what its first version refuses is not verified")
def test_triton_keeps_what_it_compiles_where_nothing_may_be_moved(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="no triton here: its cache under the first Landlock is not verified")
    own = environment(trusted=False)["TRITON_CACHE_MANAGER"]
    given = {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_CACHE_MANAGER": own, "PYTHONPATH": str(code_root())}
    command = [sys.executable, "-s", "-c", MOVES]
    given = {**os.environ, **given}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["18", "b'cubin' True", "['__grp__kernel.json', 'kernel.cubin']"]
