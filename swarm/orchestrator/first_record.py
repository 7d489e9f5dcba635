"""A study's first record: what was decided before the first second, and the hashes by which two studies compare."""

import hashlib
import json

from swarm import gate
from swarm.orchestrator.cards import device_name
from swarm.program.globs import may_change
from swarm.records import StudyOpened
from swarm.records.data import named
from swarm.repo import Repo
from swarm.repo.programs import Programs
from swarm.repo.secret import trial_files
from swarm.study.settings import RunSettings
from swarm.version import VERSION


def first_record(settings: RunSettings, repo: Repo, changes: tuple[str, ...]) -> StudyOpened:
    programs = Programs.of(repo, settings)
    source, budget = programs.read(settings.base_commit), settings.budget
    objective = {
        "objective": settings.objective.model_dump(),
        "budget": budget.model_dump(),
        "data": settings.dataset,
        "editable": programs.path(settings.editable),
        "harness": settings.harness_sha256,
        **_beyond_sealed(settings, repo),
    }
    return StudyOpened(
        study_id=settings.study_id,
        description=(
            f"{settings.target} on {named(settings.dataset)}, {budget.amount:g} {budget.kind} a trial "
            f"on {settings.device}, {settings.workers} workers"
        ),
        target=settings.target,
        target_folder=settings.target_folder,
        editable=settings.editable,
        base_commit=settings.base_commit,
        base_tree_sha256=gate.tree_sha256(source),
        objective=settings.objective,
        objective_sha256=hashlib.sha256(json.dumps(objective, sort_keys=True).encode()).hexdigest(),
        harness_sha256=settings.harness_sha256,
        program_sha256=hashlib.sha256(settings.program_text.encode()).hexdigest(),
        budget=budget,
        data=settings.dataset,
        classes=settings.classes,
        device=settings.device,
        device_name=device_name(settings.device, settings.cards, on_nodes=settings.on_nodes),
        workers=settings.workers,
        seed=settings.seed,
        memory=settings.memory,
        noise_replicates=settings.noise_replicates,
        trials=settings.trials,
        deadline_at=settings.deadline_at,
        finals=settings.finals,
        changes=changes,
        version=VERSION,
        terms=settings.terms,
    )


def _beyond_sealed(settings: RunSettings, repo: Repo) -> dict[str, object]:
    """What else makes the number of a target that is not sealed: its grade, its commands, and every file of its folder
    that no program may change, private ones included. Studies that differ in it are not compared."""
    if settings.grading is None:
        return {}
    files = trial_files(repo, settings, settings.base_commit)
    digest = hashlib.sha256()
    for path in sorted(path for path in files if not may_change(path, settings.terms)):
        digest.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    found: dict[str, object] = {"grade": settings.terms.grade, "grading": settings.grading.model_dump()}
    prepared = {"prepared": settings.prepared_sha256} if settings.prepared is not None else {}
    return {**found, "fixed": digest.hexdigest(), **prepared}
