"""`swarm init`: a target.toml for the repository one is in, measured before it is written."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import get_args

import typer

from swarm.errors import TargetError, UsageError
from swarm.orchestrator.trying import Tried, Trier, scratch, working_files
from swarm.program.globs import may_change
from swarm.records import Budget, Grading, TargetTerms
from swarm.repo import Repo
from swarm.target.draft import (
    Direction,
    Draft,
    digits_for,
    ignore_lines,
    likely_direction,
    likely_programs,
    printed_numbers,
    tidy_name,
)
from swarm.target.file import load_target

RUNS = 4  # of the unchanged program: one to see whether it works, all for the noise
FIRST_LIMIT_S, FIRST_MEMORY_MIB = 900.0, 4096
NIGHT_H, WORKERS = 8, 2
TOKENS_BESIDE_SOURCE, CHARS_PER_TOKEN = 4000, 4


@dataclass(frozen=True)
class Asked:
    """What was given in words; None is found out or asked for. `yes`: no question."""

    command: str | None
    editable: tuple[str, ...]
    metric: str | None
    direction: str | None
    yes: bool


def init_here(asked: Asked, cwd: Path) -> int:
    """Raises SwarmError, and then nothing was written."""
    repo = Repo.open(cwd)
    path = repo.root / "target.toml"
    if path.exists():
        raise UsageError(f"{path} is there already: edit it, or remove it and run `swarm init` again")
    if asked.direction is not None and asked.direction not in get_args(Direction):
        raise UsageError(f"--direction is {asked.direction!r}; it is minimize or maximize")
    files = working_files(repo, repo.root)
    command = asked.command or _command(files, yes=asked.yes)
    editable = asked.editable or ("*.py",)
    terms = TargetTerms(
        grade="self-reported", editable=editable, closed=("inputs", "private"), max_files=16, max_bytes=1 << 16
    )
    chosen = [name for name in files if may_change(name, terms)]
    if not chosen:
        raise UsageError(f"--editable {' '.join(editable)} names no file of {repo.root}")
    print(f"Editable: {', '.join(sorted(chosen)[:8])}{' ...' if len(chosen) > 8 else ''}")
    with scratch(repo) as folder:
        budget = Budget(kind="seconds", amount=FIRST_LIMIT_S, walltime_limit_s=FIRST_LIMIT_S)
        trier = Trier(files, terms, budget, FIRST_MEMORY_MIB, folder)
        metric, runs = _measured(trier, command, asked)
    direction = asked.direction or _direction(metric, yes=asked.yes)
    draft = _sized(
        Draft(tidy_name(repo.root.name), command, editable, metric, direction),  # type: ignore[arg-type] # checked above
        runs,
    )
    _write(repo, draft)
    _say(draft, runs, sum(len(files[name]) for name in chosen))
    return 0


def _command(files: dict[str, bytes], *, yes: bool) -> str:
    texts = {path: content.decode("utf-8", "replace") for path, content in files.items() if path.endswith(".py")}
    found = likely_programs(texts)
    if yes or not sys.stdin.isatty():
        if len(found) != 1:
            names = ", ".join(found[:6]) or "none"
            raise UsageError(f"which command runs the program? Candidates: {names}. Say --command 'python FILE.py'")
        return f"python {found[0]}"
    return str(typer.prompt("Command that runs the program", default=f"python {found[0]}" if found else None))


def _measured(trier: Trier, command: str, asked: Asked) -> tuple[str, list[Tried]]:
    """The number's name, and the runs of the unchanged program. Raises TargetError where it cannot be measured."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as problem:
        raise UsageError(f"--command is {command!r}, and no shell could read it: {problem}") from problem
    print(f"Runs {command} {RUNS} times, each with a seed of its own, in the sandbox ...", flush=True)
    first = trier.run("first", Grading(run=words, metric=asked.metric or "unknown"), 1)
    if first.outcome.score is None and (asked.metric is not None or "printed no number" not in first.outcome.detail):
        raise TargetError(_why_not(command, first, asked.metric))
    metric = asked.metric or _metric(first.output, yes=asked.yes)
    grading = Grading(run=words, metric=metric)
    runs = [trier.run(f"run{number}", grading, number) for number in range(1, RUNS + 1)]
    if failed := next((one for one in runs if one.outcome.score is None), None):
        raise TargetError(_why_not(command, failed, metric))
    return metric, runs


def _why_not(command: str, tried: Tried, metric: str | None) -> str:
    printed = ", ".join(printed_numbers(tried.output)) or "none"
    said = f" Numbers that it printed: {printed}." if metric is not None else ""
    hint = ""
    if "Permission denied" in tried.output or "Read-only file system" in tried.output:
        hint = " It may write below outputs/ and in $TMPDIR only, and read its own folder: see [run] read."
    return f"{command} cannot be measured: {tried.outcome.detail[:800]}.{said}{hint} Nothing was written."


def _metric(output: str, *, yes: bool) -> str:
    found = printed_numbers(output)
    if not found:
        raise TargetError("the command prints no named number: let it print a line such as METRIC rmse=0.5")
    if yes or not sys.stdin.isatty():
        if len(found) != 1:
            raise UsageError(f"which of the printed numbers counts? Say --metric NAME: {', '.join(found)}")
        return next(iter(found))
    return _choice("Number that counts", list(found), list(found)[-1])


def _direction(metric: str, *, yes: bool) -> str:
    guess = likely_direction(metric)
    if yes or not sys.stdin.isatty():
        return guess
    return _choice(f"What is wanted of {metric}", get_args(Direction), guess)


def _choice(question: str, choices: Sequence[str], default: str) -> str:
    """Asked again after any other answer: what was measured up to here took minutes."""
    while (answer := str(typer.prompt(f"{question} ({', '.join(choices)})", default=default))) not in choices:
        print(f"{answer!r} is none of these.")
    return answer


def _values(runs: Sequence[Tried]) -> list[float]:
    return [one.outcome.score.validation_loss for one in runs if one.outcome.score is not None]


def _most(runs: Sequence[Tried], name: str) -> float:
    return max(one.outcome.score.metrics[name] for one in runs if one.outcome.score is not None)


def _sized(draft: Draft, runs: Sequence[Tried]) -> Draft:
    """With limits of three times what the unchanged program took."""
    values = _values(runs)
    return replace(
        draft,
        digits=digits_for(stdev(values), fmean(values)),
        budget_s=math.ceil(3 * _most(runs, "run.cpu_seconds") + 2),
        walltime_limit_s=max(60.0, math.ceil(10 * _most(runs, "run.seconds"))),
        memory_mib=max(300, math.ceil(2 * _most(runs, "run.peak_mib"))),
    )


def _write(repo: Repo, draft: Draft) -> None:
    toml, program, ignore = repo.root / "target.toml", repo.root / "program.md", repo.root / ".gitignore"
    toml.write_text(draft.toml(), encoding="utf-8")
    try:
        load_target(".", repo.root) if Path.cwd().resolve() == repo.root.resolve() else load_target(
            repo.root, repo.root
        )
    except TargetError:
        toml.unlink()
        raise
    if not program.exists():
        program.write_text(draft.program_md(), encoding="utf-8")
    present = ignore.read_text(encoding="utf-8") if ignore.exists() else ""
    if lines := list(ignore_lines(present)):
        gap = "" if not present or present.endswith("\n") else "\n"
        ignore.write_text(present + gap + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    print("Wrote target.toml, program.md and the lines of .gitignore that were missing.")


def _say(draft: Draft, runs: Sequence[Tried], source_bytes: int) -> None:
    values, seconds = _values(runs), _most(runs, "run.seconds")
    sigma, size = stdev(values), f".{draft.digits}f"
    print(
        f"Baseline: {draft.metric} {fmean(values):{size}} over {len(values)} runs, standard deviation {sigma:{size}}."
    )
    if sigma == 0:
        print(
            f"Equal runs gave equal numbers: SWARM_SEED changes nothing. No change below {0.5 * 10**-draft.digits:g} "
            "is told from none, and nothing says how a gain carries over to other data."
        )
    else:
        print(f"A night can show gains from about {2 * sigma:{size}} on.")
    trials = int(NIGHT_H * 3600 * WORKERS / max(1.0, seconds + 1.0))
    tokens = trials * (TOKENS_BESIDE_SOURCE + source_bytes // CHARS_PER_TOKEN)
    print(
        f"A trial takes about {seconds:.1f} s. A night of {NIGHT_H} h with {WORKERS} workers: up to {trials} trials, "
        f"{trials * _most(runs, 'run.cpu_seconds') / 3600:.1f} CPU hours, no money with the embedded proposers; with a "
        f"language model for each at most {tokens / 1e6:.1f} M tokens of prompts."
    )
    typer.secho(
        "The number is self-reported: the program prints it, and nobody checks it. [grade] ends that.",
        fg="red",
    )
    print("Next: git add target.toml program.md .gitignore && git commit -m 'A target', then: swarm up --target .")
