"""`swarm gpu`: who holds what, why the next one waits, what this card really does, and what if."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.flags import HELP, Device, Json

if TYPE_CHECKING:
    from swarm.admission.simulator import SimulationReport
    from swarm.admission.status import AdmissionStatus, DeviceStatus
    from swarm.gpu import GpuProbe

gpu_app = typer.Typer(
    help="Device memory: who holds what, why the next one waits, and what if.",
    no_args_is_help=True,
    context_settings=HELP,
)


@gpu_app.command()
def status(
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show reservations on every device of this machine, whoever made them, and who waits for what."""
    from swarm.admission import default_root
    from swarm.admission.status import status as read_status

    found = read_status(default_root(), _probe(device))
    if as_json:
        print(json.dumps({"schema_version": 1, **asdict(found)}, default=str))
        return
    print("\n".join(status_lines(found)))


@gpu_app.command()
def selftest(
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings there as JSON.")] = None,
    as_json: Json = False,
) -> int:
    """Try the promises on the real card: context size, cap, neighbour, kill, pids, pair speed-up, sandbox, MPS and NVML
    limits. Two minutes; without a GPU it says of each that it is not proven."""
    from swarm.admission.selftest import selftest as run_selftest

    found = run_selftest(report)
    if as_json:
        print(json.dumps({"schema_version": 1, "passed": found.passed, **asdict(found)}))
    else:
        for check in found.checks:
            mark = {True: "ok", False: "FAIL", None: "-"}[check.passed]
            print(f"{mark:<5} {check.name}: {check.value} {check.unit} {check.detail}".rstrip())
        print(found.verified_on)
    return 0 if found.passed else 1


@gpu_app.command()
def simulate(
    cards: Annotated[int, typer.Option(help="Equal cards of 24,564 MiB.")] = 1,
    workers: Annotated[int, typer.Option(help="Workers that share them.")] = 2,
    jobs: Annotated[int, typer.Option(help="Trials in all.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated trials.")] = 0,
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="swarm, sequential, count=2, count=3, free-memory-now, kill-on-spike.")
    ] = "swarm",
    peak_mib: Annotated[float, typer.Option(help="Median peak of a trial.")] = 5400.0,
    spread: Annotated[float, typer.Option(help="Spread of the peaks: sigma of their logarithm.")] = 0.35,
    as_json: Json = False,
) -> None:
    """Plan: how long would these trials take on those cards, how full would they be, how many would run out?"""
    from swarm.admission.simulator import POLICIES, Peaks, Workload
    from swarm.admission.simulator import simulate as run_simulation
    from swarm.errors import UsageError
    from swarm.study.options import require_between

    if policy not in POLICIES:
        raise UsageError(f"--policy is {policy!r}; it is one of {', '.join(POLICIES)}")
    require_between("--cards", cards, 1, 64)
    require_between("--workers", workers, 1, 64)
    require_between("--jobs", jobs, 1, 100_000)
    require_between("--peak-mib", peak_mib, 1, 1_000_000)
    require_between("--spread", spread, 0, 3)
    workload = Workload(Peaks(median_mib=peak_mib, sigma=spread))
    found = run_simulation(cards, workers, jobs, seed, policy=policy, workload=workload)
    if as_json:
        print(json.dumps({"schema_version": 1, **asdict(found)}))
    else:
        print(simulation_text(found))


def status_lines(found: "AdmissionStatus") -> list[str]:
    """One block a device, with the number that `--gpus` takes where there are several, then the queue."""
    lines: list[str] = []
    for number, device in enumerate(found.devices):
        first, *others = _device_lines(device)
        lines += [f"GPU {number}: {first}" if len(found.devices) > 1 else first, *others]
    for place, waiter in enumerate(found.waiting, 1):
        lines.append(
            f"waiting {place}: trial {waiter.trial_id} of {waiter.agent_id} wants {waiter.memory_mib} MiB, "
            f"for {waiter.waited_s:.0f} s, passed by {waiter.bypassed}: {waiter.reason}"
        )
        if waiter.starts_within_s is not None:
            lines.append(f"           starts within {waiter.starts_within_s:.0f} s at the latest")
    rate = found.under_prediction_rate
    learnt = f", {100 * rate:.1f} % of the last predictions were too small" if rate is not None else ""
    lines.append(
        f"{found.free_cpu_slots} of {found.cpu_slots} CPU slots free; {found.observed_runs} peaks known{learnt}"
    )
    return lines


def simulation_text(found: "SimulationReport") -> str:
    """The figures that a person plans with."""
    return "\n".join(
        (
            f"{found.policy}: {found.jobs} trials, {found.workers} workers, {found.cards} card(s), seed {found.seed}",
            f"makespan           {found.makespan_s / 3600:.1f} h, cards {100 * found.utilisation:.0f} % full",
            f"wait for a card    mean {found.wait_mean_s:.0f} s, p99 {found.wait_p99_s:.0f} s",
            f"out of memory      {found.ooms_per_1000:.1f} per 1,000 trials, "
            f"{found.device_ooms_per_1000:.1f} of them a neighbour's fault",
            f"infeasible         {found.infeasible}; killed {found.kills}; most at once {found.most_running}",
        )
    )


def _device_lines(device: "DeviceStatus") -> list[str]:
    fault = f"  NOT ANSWERING: {device.fault}" if device.fault else ""
    lines = [
        f"{device.name} ({device.uuid}): {device.free_mib} of {device.total_mib} MiB free; reserved "
        f"{device.committed_mib}, foreign {device.foreign_mib}, headroom {device.headroom_mib}, "
        f"room for {device.room_mib} MiB{fault}"
    ]
    for holder in device.holders:
        marks = "".join(f", {mark}" for mark in ("alone", "hung", "draining") if getattr(holder, mark))
        lines.append(
            f"  trial {holder.trial_id} of {holder.agent_id} ({holder.study_id}): {holder.measured_mib} of "
            f"{holder.reservation_mib} MiB, held {holder.held_s:.0f} s, ends within {holder.ends_in_s:.0f} s{marks}"
        )
    return lines


def _probe(device: str) -> "GpuProbe":
    from swarm.errors import UsageError
    from swarm.gpu import detect_probe

    if device not in ("auto", "cuda", "cpu"):
        raise UsageError(f"--device is {device!r}; it is one of auto, cuda, cpu")
    return detect_probe(device)
