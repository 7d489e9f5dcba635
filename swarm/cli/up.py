"""`swarm up`: open the study, run it, draw it, sum it up."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.live import Live

from swarm.cli.notifying import Look, named_sinks, notifying
from swarm.cli.render import EventLines, headline, ranking_lines, ranking_table
from swarm.cli.terminal import lasting_console
from swarm.clock import Clock, SystemClock
from swarm.compare.calibrate import calibrate, recommended
from swarm.errors import SwarmError
from swarm.nodes.serving import serving
from swarm.notify.delivery import Sink
from swarm.orchestrator.control import only_orchestrator
from swarm.orchestrator.opening import OpenStudy, open_study
from swarm.orchestrator.orchestrator import Orchestrator
from swarm.pods.ledger import Ledger, default_ledger
from swarm.pods.registry import costs_now
from swarm.repo import Repo
from swarm.report.summary import StudySummary, summarize
from swarm.study.caution import caution
from swarm.study.devices import device_class
from swarm.study.options import UpOptions
from swarm.study.resuming import terms
from swarm.study.settings import Layout
from swarm.study.state import StudyState
from swarm.study.usage import total_usage, usages_of
from swarm.watch.terminal import picture
from swarm.watch.watching import watch_study

DRAW_EVERY_S = 0.5


def run_up(
    options: UpOptions, cwd: Path, *, as_json: bool, notify: str | None = None, on_event: str | None = None
) -> int:
    """Runs one study to its end. 0 when it ended by its limits or was drained, 130 when it was stopped at once.

    `notify` may be a key: it is in no option, and so in no settings and no record.
    """
    sinks = named_sinks(notify, on_event)
    with lasting_console(stderr=as_json) as console:
        return _run_up(options, cwd, console, sinks, as_json=as_json)


def _run_up(options: UpOptions, cwd: Path, console: Console, sinks: tuple[Sink, ...], *, as_json: bool) -> int:
    clock = SystemClock()
    repo = Repo.open(cwd)
    with only_orchestrator(Layout(root=repo.root)) as reign:
        opened = open_study(options, cwd, clock, lambda text: console.print(text, highlight=False), advice=recommended)
        reign.announce(opened.settings.study_id)
        _say_what_runs(opened, console)
        for line in costs_now(Ledger(default_ledger()), clock):
            console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
        if options.resume:
            _say_what_goes_on(opened, console)
        orchestrator = Orchestrator(opened.settings, opened.brain, opened.repo, clock, renew=reign.renew)
        said = partial(console.print, style="yellow", highlight=False, markup=False, soft_wrap=True)
        plain = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        ran_on = device_class(_study(opened))
        with notifying(sinks, opened, clock, said) as look, serving(opened.settings, clock, plain, ran_on):
            display = _Display(opened, console, clock, orchestrator, look)
            with display.shown():
                reason = orchestrator.run(display.tick)
        display.last_lines()
    summary = summarize(_study(opened))
    if as_json:
        print(summary.model_dump_json())
    else:
        _say_result(summary, reason, console, had_finals=bool(_study(opened).finals))
    return 130 if orchestrator.interrupts.at_once else 0


class _Display:
    """A live table on a terminal, plain lines in a pipe."""

    def __init__(
        self, opened: OpenStudy, console: Console, clock: Clock, orchestrator: Orchestrator, look: Look
    ) -> None:
        self._look = look
        self._opened = opened
        self._console = console
        self._clock = clock
        self._orchestrator = orchestrator
        self._trouble: str | None = None
        self._events = EventLines()
        self._watcher = watch_study(opened.brain, opened.settings.study_id, clock, ledger=False)
        self._live: Live | None = None
        self._next = 0.0
        self._told = 0

    def shown(self) -> AbstractContextManager[object]:
        if not self._console.is_terminal:
            return nullcontext()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        return self._live

    def tick(self) -> None:
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + DRAW_EVERY_S
        self._tell_interrupts()
        self._tell_trouble()
        self._look(self._orchestrator.trouble)
        study = _study(self._opened)
        for line in self._events.fresh(study):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if self._live is not None:
            seen = replace(self._watcher.need(), events=())  # they stand above
            self._live.update(picture(seen, self._console.width, self._console.height))

    def last_lines(self) -> None:
        for line in self._events.fresh(_study(self._opened)):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _tell_trouble(self) -> None:
        """Once when it begins and once when it has passed."""
        trouble = self._orchestrator.trouble
        if (trouble is None) != (self._trouble is None):
            text = trouble or "There is room again: the study goes on."
            self._console.print(
                text, style="red" if trouble else "green", highlight=False, markup=False, soft_wrap=True
            )
        self._trouble = trouble

    def _tell_interrupts(self) -> None:
        count = self._orchestrator.interrupts.count
        if count == self._told:
            return
        self._told = count
        ahead = self._orchestrator.foresight.ahead
        follow = f"The finals follow, which say what is kept: {ahead}; `swarm finals` runs them later." if ahead else ""
        text = (
            f"Draining: running trials finish, no new idea starts. {follow} Press Ctrl-C again to stop at once."
            if count == 1
            else "Stopping the running trials."
        )
        self._console.print(text, style="yellow")


def run_calibrate(options: UpOptions, cwd: Path, *, as_json: bool) -> int:
    """Measures the target on this machine; prints what it found."""
    with lasting_console(stderr=True) as console, only_orchestrator(Layout(root=Repo.open(cwd).root)) as reign:
        reign.announce("calibration")
        result = calibrate(options, cwd, SystemClock(), lambda text: console.print(text, highlight=False))
    print(result.model_dump_json() if as_json else result.text)
    return 0


def _study(opened: OpenStudy) -> StudyState:
    study = opened.brain.snapshot().study(opened.settings.study_id)
    if study is None:
        raise SwarmError(f"study {opened.settings.study_id} has vanished from {opened.settings.brain}")
    return study


def _say_what_goes_on(opened: OpenStudy, console: Console) -> None:
    """What a study that is opened again keeps, what changes, and what it has used up already."""
    settings, study = opened.settings, _study(opened)
    changed = {change.partition(": ")[0] for change in opened.changes}
    shown = {name: text for name, text in terms(settings).items() if name not in changed}
    if settings.deadline_at is not None and "deadline_at" in shown:
        shown["deadline_at"] = f"{datetime.fromtimestamp(settings.deadline_at):%Y-%m-%d %H:%M:%S}"
    kept = ", ".join(f"{name} {text}" for name, text in shown.items())
    spent = total_usage(usages_of(study))
    lines = [f"Goes on with {study.study_id}, which has {len(study.trials)} trials.", f"Keeps: {kept}."]
    lines += [f"Changes: {', '.join(opened.changes) or 'nothing'}."]
    if spent is not None:
        usd = "an unknown sum" if spent.usd is None else f"{spent.usd:.4f} USD"
        tokens = (spent.input_tokens or 0) + (spent.output_tokens or 0)
        lines += [f"Spent so far, and counted: {usd}, {tokens} tokens."]
    if settings.deadline_at is not None and settings.deadline_at <= SystemClock().now():
        lines += ["Its time is up, so it only ends what is open; --hours gives it more."]
    if settings.trials is not None and len(study.trials) >= settings.trials:
        lines += [f"It has its {settings.trials} trials, so it only ends what is open; --trials gives it more."]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _say_what_runs(opened: OpenStudy, console: Console) -> None:
    settings = opened.settings
    proposers = ", ".join(f"{agent}: {chosen.spec}" for agent, chosen in settings.proposers.items())
    console.print(
        f"Study {settings.study_id}: {settings.target} on {settings.device}, "
        f"{settings.budget.words} a trial, {proposers}",
        highlight=False,
        soft_wrap=True,
    )
    if (warning := caution(settings.dataset, settings.terms.grade)) is not None:
        console.print(f"{warning}.", style="red")
    if settings.device == "cpu":
        console.print("No GPU is used: trials share the CPU cores.", style="yellow")
    if settings.trials is None and settings.deadline_at is None:
        console.print("It goes on until stopped: Ctrl-C once drains, twice stops.", style="dim")


def _say_result(summary: StudySummary, reason: str, console: Console, *, had_finals: bool) -> None:
    console.print()
    if console.is_terminal:
        console.print(headline(summary))
        console.print(ranking_table(summary))
    else:
        console.print(headline(summary).plain, highlight=False, soft_wrap=True)
        for line in ranking_lines(summary):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    pairs = f"{summary.overlapping_pairs} pairs of trials ran at the same time."
    following = "Next: swarm report, swarm diff TRIAL, swarm adopt TRIAL."
    console.print(f"Ended: {reason}. {pairs} {following}", highlight=False, soft_wrap=True)
    if not had_finals:
        text = "Nothing is kept before finals: `swarm finals` runs them now, on fresh seeds beside the baseline."
        console.print(text, highlight=False, soft_wrap=True)
