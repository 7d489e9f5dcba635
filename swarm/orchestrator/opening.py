"""Opens a study, or an earlier one again: everything that is checked before the first second of training.

A failed check is one clear error and leaves nothing behind. What was decided is written down twice: as the study's
first record in the brain, for ever, and as `settings.json` for the workers of this run.
"""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from swarm import gate
from swarm.admission.selftest.usable import require_usable
from swarm.brain import Brain
from swarm.brain.room import require_room
from swarm.clock import Clock
from swarm.errors import DirtyTarget, SwarmError, TargetError, UsageError
from swarm.gpu import NvmlProbe
from swarm.orchestrator.cards import chosen_device, device_name, require_same_class, with_cards
from swarm.orchestrator.data import require_same_grader
from swarm.orchestrator.first_record import first_record
from swarm.orchestrator.going_on import refuse_a_plateau
from swarm.orchestrator.model_servers import (
    check_models,
    model_without_a_server,
    need_extras,
    refuse_a_model_that_nobody_asks,
)
from swarm.orchestrator.preparing import study_data
from swarm.orchestrator.settings_file import load_settings, saved_settings
from swarm.records import Budget
from swarm.repo import Repo
from swarm.repo.programs import Programs
from swarm.study.naming import study_named
from swarm.study.options import UpOptions, check_options, worker_names
from swarm.study.resuming import proposer_settings, resumed
from swarm.study.settings import GpuMode, Layout, ProposerSettings, RunSettings, Sandbox
from swarm.study.state import StudyState
from swarm.target.file import Target, load_target
from swarm.target.tables import Profile
from swarm.trial.config import Device
from swarm.trial.contract import harness_sha256

NOISE_REPLICATES = 5
LOCK_TIMEOUT_S = 10.0  # for the brain's lock; a stopped process may hold it
PROGRAM_FILE = "program.md"


@dataclass(frozen=True)
class OpenStudy:
    """A study that is ready to run."""

    settings: RunSettings
    brain: Brain
    repo: Repo
    changes: tuple[str, ...] = ()  # what a person changed when it was opened again


def open_study(
    options: UpOptions,
    cwd: Path,
    clock: Clock,
    say: Callable[[str], None],
    *,
    noise_replicates: int = NOISE_REPLICATES,
    advice: Callable[[str, str], GpuMode] = lambda device, target: "shared",
) -> OpenStudy:
    """Check everything, prepare the data, and write the study's first record. Raises SwarmError.

    `advice(device name, target)` answers `--gpu-mode auto`.
    """
    check_options(options)
    options = _with_scripts(options)
    repo = Repo.open(cwd)
    require_room(repo.root)
    layout = Layout(root=repo.root)
    path = (options.brain or layout.brain).absolute()
    brain = Brain(path, clock=clock, kept=repo.kept_brain(path), lock_timeout_s=LOCK_TIMEOUT_S)
    changes: tuple[str, ...] = ()
    if options.resume:
        latest = _study_to_go_on_with(brain, options)
        refuse_a_plateau(latest, options)
        had = _settings_of(layout, latest, _asked_by(options))
        require_same_grader(had, os.environ)
        settings, changes = resumed(had, options, clock.now())
        settings, changes = with_cards(settings, changes, latest.opened.device_name, options, say)
        _check_proposers(settings.proposers, sealed=settings.grading is None)
        if not settings.on_nodes:
            require_same_class(settings, latest)
            require_usable_card(settings.device, settings.cards, settings.sandbox, say)
    else:
        fresh = _fresh(options, repo, brain.path, clock, say, advice)
        settings = fresh.model_copy(update={"noise_replicates": noise_replicates})
        if (left := brain.begin_keeping()) is not None:
            say(left)
    with saved_settings(settings):
        brain.append(first_record(settings, repo, changes))
    return OpenStudy(settings, brain, repo, changes)


def script_found(spec: str) -> str:
    """A proposer's spec, with the path of a script made absolute. Raises UsageError when there is no such file."""
    kind, _, path = spec.partition(":")
    if kind != "scripted":
        return spec
    if not Path(path).is_file():
        raise UsageError(f"--proposer {spec}: there is no file {path}")
    return f"{kind}:{Path(path).absolute()}"


def _fresh(
    options: UpOptions,
    repo: Repo,
    brain: Path,
    clock: Clock,
    say: Callable[[str], None],
    advice: Callable[[str, str], GpuMode],
) -> RunSettings:
    """The settings of a new study. What costs nothing is checked first, and the base program is committed last."""
    proposers = {agent: _asked(options, agent) for agent in worker_names(options.workers)}
    try:
        target = load_target(options.target, repo.root)
    except TargetError:
        _check_proposers(proposers, sealed=True)  # whoever lacks the libraries is told of them first
        raise
    _check_proposers(proposers, sealed=target.grading is None)
    refuse_a_model_that_nobody_asks(proposers.values())
    if (unasked := model_without_a_server(proposers.values(), os.environ)) is not None:
        say(unasked)
    require_committed(repo, target)
    device, cards = chosen_device(options, say)
    if options.executor == "local":
        require_usable_card(device, cards, options.sandbox, say)
    profile = target.profiles.gpu if device == "cuda" else target.profiles.cpu
    head, programs = repo.head(), Programs(repo, str(target.folder), target.editable, target.terms)
    source = target.base_source(programs.read(head), profile)
    if (refusal := gate.check_base(source, target.terms)) is not None:
        raise TargetError(f"{programs.where} cannot be a study's first program: {refusal.detail}")
    runs_on = device_name(device, cards, on_nodes=options.executor != "local")
    mode = options.gpu_mode if options.gpu_mode != "auto" else advice(runs_on, target.name)
    data, prepared = study_data(target, repo.root, repo.files(head, str(target.folder)), options.data, device, say)
    study_id = f"{target.name}-{dated_id(repo.root, clock)}"
    base = programs.commit(head, source, f"{study_id}: base program", f"refs/swarm/{study_id}/base")
    budget = target.budget.of(profile)
    if options.budget_s is not None:
        budget = _scaled(budget, options.budget_s)
    if device == "cuda" and mode == "shared":
        budget = budget.for_tenants(options.workers)
    return RunSettings(
        study_id=study_id,
        root=repo.root,
        brain=brain,
        target=target.name,
        target_folder=str(target.folder),
        editable=target.editable,
        base_commit=base,
        program_text=_program_text(repo.root),
        device=device,
        cards=cards,
        gpu_mode=mode,
        dataset=data.dataset,
        data_dir=data.data_dir,
        classes=target.classes,
        harness=target.harness,
        objective=target.objective,
        budget=budget,
        memory_mib=profile.memory_mib,
        threads=_threads(profile, options.workers, device),
        workers=options.workers,
        seed=options.seed,
        noise_replicates=NOISE_REPLICATES,
        trials=int(options.trials) if options.trials not in (None, math.inf) else None,
        deadline_at=clock.now() + options.hours * 3600 if options.hours not in (None, math.inf) else None,
        proposers=proposers,
        memory=options.memory,
        memory_lot=options.memory_lot,
        sandbox=options.sandbox,
        early_stop=options.early_stop and target.grading is None,
        stop_at_plateau=options.stop_at_plateau,
        finals=options.finals,
        start_up=options.start_up if target.grading is None else "spawn",
        executor=options.executor,
        harness_sha256=harness_sha256(),
        terms=target.terms,
        grading=target.grading,
        prepared=prepared.folder if prepared is not None else None,
        prepared_sha256=prepared.sha256 if prepared is not None else "",
    )


def _asked_by(options: UpOptions) -> str:
    """What a person typed to go on with a study, for what is said to them."""
    return "finals" if options.finals == "now" else "--resume"


def _study_to_go_on_with(brain: Brain, options: UpOptions) -> StudyState:
    """By its id or an unambiguous beginning of it; the latest when None. Raises UsageError."""
    state, asked_by = brain.snapshot(), _asked_by(options)
    if state.latest is None:
        raise UsageError(f"{asked_by}: there is no study in this brain ({brain.path}). `swarm up` begins one.")
    return study_named(state, options.study, brain.path)


def _settings_of(layout: Layout, study: StudyState, asked_by: str) -> RunSettings:
    """What a study was run with, and the limits that it has now. Raises UsageError and SwarmError where it cannot go on
    here."""
    path = layout.settings(study.study_id)
    if not path.exists():
        raise UsageError(
            f"{asked_by}: study {study.study_id} was not run in this clone ({path} is missing). "
            "`swarm up` begins a new one, whose workers can read the old one's records."
        )
    settings = load_settings(path)
    if settings.harness_sha256 != harness_sha256():
        raise SwarmError(
            f"{asked_by}: the harness has changed since study {study.study_id} began, so new results would not be "
            "comparable. `swarm up` begins a new study; or check out the old harness."
        )
    limits = study.limits  # as a person has left them
    return settings.model_copy(update={"trials": limits.trials, "deadline_at": limits.deadline_at})


def _check_proposers(proposers: Mapping[str, ProposerSettings], *, sealed: bool) -> None:
    need_extras(proposers.values(), sealed=sealed)
    check_models(proposers.values(), os.environ)


def require_usable_card(device: Device, cards: tuple[str, ...], sandbox: Sandbox, say: Callable[[str], None]) -> None:
    """One allocation on each of the study's cards, outside of the sandbox and inside, and what came of it. Raises
    Unusable."""
    if device == "cuda":
        say(str(require_usable(NvmlProbe(), sandbox, only=cards)))


def require_committed(repo: Repo, target: Target) -> None:
    """Raises DirtyTarget when the target's folder holds something that HEAD does not know."""
    changed = repo.uncommitted(str(target.folder))
    if changed:
        raise DirtyTarget(
            f"{', '.join(changed[:3])} has uncommitted changes, and a study starts from a commit. "
            f"Commit or stash {target.folder} first; changes elsewhere do not matter."
        )


def _threads(profile: Profile, workers: int, device: Device) -> int:
    cores = len(os.sched_getaffinity(0))
    if device == "cuda":
        return max(1, min(profile.threads, cores // workers))
    return profile.threads


def _scaled(budget: Budget, seconds: float) -> Budget:
    """Another amount, with the kill limit in the same proportion and never below the start-up it has to cover."""
    kind = budget.kind if budget.kind != "samples" else "solo_seconds"
    factor = budget.walltime_limit_s / budget.amount if budget.kind != "samples" else 4.0
    return Budget(kind=kind, amount=seconds, walltime_limit_s=max(60.0, seconds * factor))


def _asked(options: UpOptions, agent_id: str) -> ProposerSettings:
    return proposer_settings(options.worker_proposers.get(agent_id, options.proposer), options)


def _with_scripts(options: UpOptions) -> UpOptions:
    """The options with the paths of their scripts made absolute."""
    named = {agent_id: script_found(spec) for agent_id, spec in options.worker_proposers.items()}
    return replace(options, proposer=script_found(options.proposer), worker_proposers=named)


def _program_text(root: Path) -> str:
    path = root / PROGRAM_FILE
    return path.read_text(encoding="utf-8") if path.exists() else "Lower the validation loss.\n"


def dated_id(root: Path, clock: Clock) -> str:
    """The moment, with a tail that tells two of the same second apart."""
    moment = datetime.fromtimestamp(clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
    return f"{moment}-{hashlib.sha256(f'{root}{os.getpid()}{clock.now()}'.encode()).hexdigest()[:4]}"
