"""What the probes make of the driver's answers, and of a machine without a driver."""

import json
import os
import time
from pathlib import Path

import pytest
from fakes.fake_nvml import TRACES, FakeNvml

from swarm.errors import UsageError
from swarm.gpu import Attribution, CpuProbe, GpuProbe, NoDevice, NvmlProbe, ProcessUse, detect_probe, host_limits
from swarm.gpu.host import cpu_slots, memory_limit_bytes, memory_used_bytes


def probe(trace: str, *, t: float = 10, host_pids: bool = True) -> tuple[NvmlProbe, FakeNvml]:
    nvml = FakeNvml(trace)
    made = NvmlProbe(nvml, timeout_s=0.1, host_pids=host_pids)
    nvml.at(t)
    return made, nvml


def test_every_trace_says_whether_it_is_real() -> None:
    for path in TRACES.glob("*.jsonl"):
        assert json.loads(path.read_text().splitlines()[0])["provenance"] in ("real", "synthetic")


def test_a_current_driver() -> None:
    made, _ = probe("v2_driver", t=20)
    (reading,) = made.read()
    assert (reading.total_mib, reading.reserved_mib, reading.free_mib) == (24564, 464, 24100 - 13332)
    assert reading.attribution is Attribution.MATCHED
    assert reading.processes == (ProcessUse(4101, 5482), ProcessUse(4102, 7400))
    assert (made.kind, made.name, made.driver_version()) == ("cuda", "NVIDIA GeForce RTX 4090", "580.95.05")


def test_a_driver_without_v2_counts_its_own_reserve_as_in_use() -> None:
    (reading,) = probe("v1_driver")[0].read()
    assert (reading.reserved_mib, reading.total_mib - reading.free_mib) == (0, 464 + 5932)


@pytest.mark.parametrize(
    ("trace", "host_pids", "expected"),
    [
        ("v2_driver", True, Attribution.MATCHED),
        ("container_host_pids", False, Attribution.UNMATCHED),
        ("wsl_null_memory", True, Attribution.UNAVAILABLE),
        ("empty_list", False, Attribution.UNAVAILABLE),
        ("empty_list", True, Attribution.MATCHED),
    ],
)
def test_whose_memory_it_is_has_three_answers(trace: str, host_pids: bool, expected: Attribution) -> None:
    (reading,) = probe(trace, host_pids=host_pids)[0].read()
    assert reading.attribution is expected


def test_a_lost_device_is_reported_and_comes_back() -> None:
    made, nvml = probe("gpu_is_lost")
    (reading,) = made.read()
    assert reading.lost
    assert reading.fault is not None
    assert "GpuIsLost" in reading.fault
    assert reading.total_mib == 24564
    nvml.at(70)
    assert not made.read()[0].lost


def test_a_call_that_hangs_gives_no_data_and_no_second_thread() -> None:
    made, nvml = probe("blocking_call")
    (reading,) = made.read()
    assert reading.lost
    assert "within 0.1 s" in str(reading.fault)
    calls = nvml.calls
    assert "has not come back" in str(made.read()[0].fault)
    assert nvml.calls == calls
    nvml.at(40)
    nvml.unblock()
    deadline = time.monotonic() + 5
    while made.read()[0].lost and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not made.read()[0].lost


def test_cuda_without_a_driver_says_what_to_do() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has an NVIDIA driver: what is said without one is not verified")
    with pytest.raises(NoDevice, match="--device cpu"):
        detect_probe("cuda")
    assert detect_probe("auto").kind == "cpu"
    with pytest.raises(UsageError, match="auto, cuda or cpu"):
        detect_probe("tpu")


def test_the_cpu_is_a_device() -> None:
    made: GpuProbe = CpuProbe()
    (reading,) = made.read()
    assert (made.kind, reading.uuid, reading.attribution) == ("cpu", "CPU-0", Attribution.MATCHED)
    assert 0 < reading.free_mib <= reading.total_mib
    mine = {use.pid: use.used_mib for use in reading.processes}
    assert (mine[os.getpid()] or 0) > 1
    limits = host_limits()
    assert 1 <= limits.cpu_slots <= len(os.sched_getaffinity(0))
    assert limits.ram_mib == reading.total_mib


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroup / "pod").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 65536000 kB\nMemAvailable: 60000000 kB\n")
    (proc / "self" / "cgroup").write_text("0::/pod\n")
    return proc, cgroup


def test_version_2_cgroup_limits_count(machine: tuple[Path, Path]) -> None:
    proc, cgroup = machine
    (cgroup / "pod" / "cpu.max").write_text("150000 100000\n")
    (cgroup / "pod" / "memory.max").write_text(f"{8 << 30}\n")
    (cgroup / "pod" / "memory.current").write_text(f"{3 << 30}\n")
    (cgroup / "pod" / "memory.stat").write_text(f"anon 5\ninactive_file {1 << 30}\n")
    assert cpu_slots(proc, cgroup) == min(2, len(os.sched_getaffinity(0)))
    assert memory_limit_bytes(proc, cgroup) == 8 << 30
    assert memory_used_bytes(proc, cgroup) == 2 << 30
    (reading,) = CpuProbe(proc=proc, cgroup=cgroup).read()
    assert (reading.total_mib, reading.free_mib) == (8192, 6144)


def test_version_1_cgroup_limits_count_even_under_a_foreign_path(machine: tuple[Path, Path]) -> None:
    proc, cgroup = machine
    (proc / "self" / "cgroup").write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    for name, files in {
        "memory": {"memory.limit_in_bytes": 4 << 30, "memory.usage_in_bytes": 1 << 30},
        "cpu": {"cpu.cfs_quota_us": 100_000, "cpu.cfs_period_us": 100_000},
    }.items():
        (cgroup / name).mkdir()
        for file, value in files.items():
            (cgroup / name / file).write_text(f"{value}\n")
    assert cpu_slots(proc, cgroup) == 1
    assert memory_limit_bytes(proc, cgroup) == 4 << 30


def test_unlimited_cgroups_leave_the_hardware(machine: tuple[Path, Path]) -> None:
    proc, cgroup = machine
    (cgroup / "pod" / "cpu.max").write_text("max 100000\n")
    (cgroup / "pod" / "memory.max").write_text("max\n")
    assert cpu_slots(proc, cgroup) == len(os.sched_getaffinity(0))
    assert memory_limit_bytes(proc, cgroup) is None
