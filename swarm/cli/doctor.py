"""`swarm doctor`: what this machine can do, by trying it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from swarm.cli.asking import asked
from swarm.cli.finding import Finding, Verdict
from swarm.errors import MissingExtra, NotARepository, OutdatedExtra, SwarmError
from swarm.version import missing, too_old

_COLOURS: dict[Verdict, str] = {"ok": "green", "warn": "yellow", "risk": "bold red", "fail": "bold red"}
MIN_DISK_GIB = 5.0
ASKED_S = 1800.0


def print_doctor(cwd: Path, *, as_json: bool, more: Sequence[Sequence[str]] = ()) -> int:
    """0 when a study can run on this machine, perhaps after what the warnings ask for; 1 when it cannot. `more` is what
    is asked of models and agents beside."""
    findings = [*examine(cwd), *(finding for what in more for finding in asked(what, ASKED_S))]
    if as_json:
        import json

        print(json.dumps({"schema_version": 1, "findings": [asdict(finding) for finding in findings]}))
    else:
        console = Console()
        for finding in findings:
            colour = _COLOURS[finding.verdict]
            console.print(f"{finding.verdict:<5}", style=colour, end=" ")
            console.print(
                f"{finding.check}: {finding.detail}",
                style=colour if finding.verdict == "risk" else None,
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def examine(cwd: Path) -> Iterator[Finding]:
    """One finding a check, in the order in which a study would need them."""
    checks: tuple[tuple[str, Callable[[Path], tuple[Verdict, str]]], ...] = (
        ("python", _python),
        ("repository", _repository),
        ("file locks", _locks),
        ("disk", _disk),
        ("sandbox", _sandbox),
        ("device", _device),
        ("torch", _torch),
        ("card", _card),
        ("targets", _targets),
        ("data", _data),
        ("language model", _model),
        ("rented machines", _pods),
    )
    for name, check in checks:
        try:
            verdict, detail = check(cwd)
        except (SwarmError, OSError, subprocess.SubprocessError) as error:
            verdict, detail = "fail", str(error)
        yield Finding(name, verdict, detail)


def _python(_cwd: Path) -> tuple[Verdict, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    return ("ok", version) if sys.version_info >= (3, 11) else ("fail", f"{version}; 3.11 or newer is needed")


def _repository(cwd: Path) -> tuple[Verdict, str]:
    from swarm.repo import Repo

    try:
        repo = Repo.open(cwd)
    except NotARepository as error:
        return "warn", f"{error}. Without one, reading commands take a brain by --brain."
    changed = repo.uncommitted("models") if (repo.root / "models").is_dir() else []
    if changed:
        return "warn", f"{repo.root}: {', '.join(changed[:3])} has uncommitted changes; commit them before a study"
    return "ok", f"{repo.root} at {repo.head()[:12]}"


def _locks(cwd: Path) -> tuple[Verdict, str]:
    """A second process must fail to take a lock that we hold, on the file system that the brain lies on."""
    from filelock import FileLock

    probe = (
        "import sys; from filelock import FileLock, Timeout\n"
        "try: FileLock(sys.argv[1], fallback_to_soft=False).acquire(timeout=0)\n"
        "except Timeout: sys.exit(3)\n"
    )
    with tempfile.TemporaryDirectory(dir=cwd, prefix=".swarm-lock-") as folder:
        path = Path(folder) / "probe.lock"
        with FileLock(path, fallback_to_soft=False):
            code = subprocess.run([sys.executable, "-c", probe, str(path)], timeout=30, check=False).returncode
    if code == 3:
        return "ok", "two processes exclude each other here"
    return "fail", f"a second process got a lock that was held (exit code {code}): keep the brain on a local disk"


def _disk(cwd: Path) -> tuple[Verdict, str]:
    free_gib = shutil.disk_usage(cwd).free / 2**30
    return ("ok" if free_gib > MIN_DISK_GIB else "warn"), f"{free_gib:.1f} GiB free, {MIN_DISK_GIB:g} GiB advised"


def _sandbox(_cwd: Path) -> tuple[Verdict, str]:
    """What a trial would get here. Below what `--sandbox strict` asks for, a candidate's score can be its own work."""
    from swarm.sandbox import ladder

    report = ladder.probe()
    try:
        ladder.require(report)
    except SwarmError as missing:
        return "risk", f"{report.level} ({report.detail}). {missing} Each trial's record says what it had."
    return "ok", f"{report.level} ({report.detail})"


def _device(_cwd: Path) -> tuple[Verdict, str]:
    from swarm.gpu import detect_probe

    readings = detect_probe("auto").read()
    texts = [f"{reading.name}: {reading.free_mib} of {reading.total_mib} MiB free" for reading in readings]
    return ("ok", "; ".join(texts)) if texts else ("warn", "no device answered")


def _torch(_cwd: Path) -> tuple[Verdict, str]:
    if absent := missing("train"):
        return "warn", str(MissingExtra("train", absent))
    if old := too_old("train"):
        return "fail", str(OutdatedExtra("train", old))
    code = "import torch, torchvision; print(torch.__version__, torchvision.__version__, torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        return "fail", (done.stderr.strip().splitlines() or ["torch cannot be imported"])[-1]
    torch, torchvision, cuda = done.stdout.split()
    return "ok", f"torch {torch}, torchvision {torchvision}, CUDA {'usable' if cuda == 'True' else 'not usable'}"


def _card(_cwd: Path) -> tuple[Verdict, str]:
    """One allocation and one kernel on each card, outside of the sandbox and inside, as before a study."""
    from swarm.admission.selftest.usable import require_usable
    from swarm.gpu import NvmlProbe, detect_probe

    probe = detect_probe("auto")
    if not isinstance(probe, NvmlProbe):
        return "warn", "there is no NVIDIA card here: trials run on the CPU, by default on stand-in data"
    if missing("train"):
        return "warn", "not tried: torch is not installed"
    return "ok", str(require_usable(probe))


def _targets(_cwd: Path) -> tuple[Verdict, str]:
    from swarm.target.shipped import shipped_targets

    folder = shipped_targets()
    return "ok", f"{', '.join(sorted(path.parent.name for path in folder.glob('*/target.toml')))} in {folder}"


def _data(_cwd: Path) -> tuple[Verdict, str]:
    cache = Path(os.environ.get("SWARM_CACHE") or Path.home() / ".cache" / "swarm") / "data"
    names = [path.name for path in sorted(cache.glob("*")) if (path / "train" / "meta.json").exists()]
    if not names:
        return "ok", f"nothing in {cache} yet; the first study prepares it"
    return "ok", f"{', '.join(names)} in {cache}"


def _model(_cwd: Path) -> tuple[Verdict, str]:
    from swarm.orchestrator.model_servers import check_models, model_without_a_server
    from swarm.study.settings import ProposerSettings

    url = os.environ.get("OPENAI_BASE_URL")
    if not os.environ.get("OPENAI_API_KEY") and not url:
        if said := model_without_a_server([ProposerSettings(spec="auto")], os.environ):
            return "warn", said
        return "ok", "no OPENAI_API_KEY and no OPENAI_BASE_URL: the embedded proposers do the work"
    model = os.environ.get("SWARM_MODEL")
    if not model:
        return "warn", "no model is named: set SWARM_MODEL or give --model"
    if absent := missing("models"):
        return "warn", f"{model}: {MissingExtra('models', absent)}"
    check_models([ProposerSettings(spec="openai")], os.environ)
    return "ok", f"{model} at {url or 'the default OpenAI server'}; --call asks it"


def _pods(_cwd: Path) -> tuple[Verdict, str]:
    """What costs money now. Nothing is asked without a key or an open rental."""
    from swarm.clock import SystemClock
    from swarm.pods.ledger import Ledger, default_ledger
    from swarm.pods.registry import costs_now, to_be_asked

    ledger = Ledger(default_ledger())
    if not to_be_asked(ledger):
        return "ok", "no open rental and no RUNPOD_API_KEY: swarm pod up --fake tries it without an account"
    lines = costs_now(ledger, SystemClock(), within_s=20.0)
    return ("warn", "; ".join(lines)) if lines else ("ok", "nothing costs money that nobody waits for")
