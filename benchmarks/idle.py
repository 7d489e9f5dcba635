"""Does the device ever wait for a language model? Whole studies of a tiny target with a slow and with a broken server.

    python benchmarks/idle.py                  a table
    python benchmarks/idle.py --json           one line a figure: bench, ours, baseline, ratio, unit, n
    python benchmarks/idle.py --trial-s 6 --trials 13

A training of 300 s beside answers of 30 s, scaled down to `--trial-s` (default 15) and a tenth of it; and the hard
case, answers as long as a training. A trial's span is from its `trial_started` to its `trial_finished` record, so
start-up, prediction and scoring are inside it; the study is from the first start to the last end.

    device busy    share of the study with at least one trial running
    slot busy      the same of each worker between its own first start and last end, averaged

The baseline is a worker that asks for its proposal when its trial has ended: the same records, with the seconds of each
answer put before the trial that came of it. The hand-over between two trials of a worker (verdict, gate, claim, commit,
lease) takes as long beside a training of 15 s as beside one of 300 s and is not scaled down: it is a figure of its own.

A server that answers every request with an error is compared with a study of the embedded arms alone. A worker waits
up to 10 s for an answer that is under way when its trial ends, then the embedded arms propose; that is not scaled down
either, and weighs twenty times as much beside a training of 15 s as beside one of 300 s.
"""

import argparse
import itertools
import json
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.fake_llm import FakeLLM, Raw, Request, Step, envelope
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.study.state import StudyState

SHARES = {"a tenth of a trial": 0.1, "as long as a trial": 1.0}


@dataclass(frozen=True)
class Span:
    """One trial of one worker: its run in epoch seconds, and how long its proposal had been thought about."""

    start: float
    end: float
    answer_s: float = 0.0


Slots = Mapping[str, Sequence[Span]]


@dataclass(frozen=True)
class Figure:
    bench: str
    ours: float
    baseline: float
    unit: str
    n: int

    def line(self) -> str:
        ratio = round(self.ours / self.baseline, 4) if self.baseline else None
        return json.dumps(
            {
                "bench": self.bench,
                "ours": round(self.ours, 4),
                "baseline": round(self.baseline, 4),
                "ratio": ratio,
                "unit": self.unit,
                "n": self.n,
            }
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--trial-s", type=float, default=15.0, help="seconds of training a trial")
    parser.add_argument("--trials", type=int, default=15, help="trials a study, 5 of them for the noise floor")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not options.json:
        print("| what | ours | baseline | ratio | unit | n |\n|---|---|---|---|---|---|")
    for figure in figures(options.trial_s, options.trials, options.workers):
        print(figure.line() if options.json else row(figure), flush=True)
    return 0


def figures(trial_s: float, trials: int, workers: int) -> Iterable[Figure]:
    for name, share in SHARES.items():
        study = run_study(slow_answers(share * trial_s), trial_s, trials, workers)
        yield from busy_figures(f"idle/answers {name}", study)
    broken = run_study(Raw("", status=500), trial_s, trials, workers)
    embedded = run_study(None, trial_s, trials, workers)
    ours, alone = slots_of(broken), slots_of(embedded)
    name = "idle/server always fails against embedded arms"
    yield Figure(f"{name}: trials a minute", trials_per_minute(ours), trials_per_minute(alone), "trials/min", trials)
    yield Figure(f"{name}: slot busy", slot_busy(ours), slot_busy(alone), "share", trials)
    yield Figure(f"{name}: hand-over", hand_over_s(ours), hand_over_s(alone), "s, median", trials)
    refused = sum(rejection.code.startswith("llm_") for rejection in broken.rejections)
    yield Figure("idle/server always fails: recorded failures", refused, 0, "count", trials)


def busy_figures(name: str, study: StudyState) -> Iterable[Figure]:
    slots = slots_of(study)
    waiting, count = without_prefetch(slots), sum(map(len, slots.values()))
    yield Figure(f"{name}: device busy", device_busy(slots), device_busy(waiting), "share", count)
    yield Figure(f"{name}: slot busy", slot_busy(slots), slot_busy(waiting), "share", count)
    yield Figure(f"{name}: hand-over", hand_over_s(slots), hand_over_s(waiting), "s, median", count)
    yield Figure(f"{name}: trials a minute", trials_per_minute(slots), trials_per_minute(waiting), "trials/min", count)
    asked = sum(span.answer_s > 0 for spans in slots.values() for span in spans)
    yield Figure(f"{name}: trials that the model proposed", asked, count, "count", count)


def slots_of(study: StudyState) -> Slots:
    """The finished trials of each worker, by their start."""
    slots: dict[str, list[Span]] = defaultdict(list)
    for trial in study.trials.values():
        usage = trial.claim.usage
        if trial.seconds is not None:
            slots[trial.claim.agent_id].append(Span(*trial.seconds, (usage.seconds or 0.0) if usage else 0.0))
    return {agent: sorted(spans, key=lambda span: span.start) for agent, spans in slots.items()}


def without_prefetch(slots: Slots) -> Slots:
    """The same trials with each answer waited for after the worker's last trial; what follows moves with it."""
    return {
        agent: [
            Span(span.start + late, span.end + late, span.answer_s)
            for span, late in zip(spans, itertools.accumulate(span.answer_s for span in spans), strict=True)
        ]
        for agent, spans in slots.items()
    }


def device_busy(slots: Slots) -> float:
    """Share of the study, first start to last end, with at least one trial running."""
    spans = sorted((span for spans in slots.values() for span in spans), key=lambda span: span.start)
    busy, until = 0.0, spans[0].start
    for span in spans:
        busy += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return busy / (until - spans[0].start)


def slot_busy(slots: Slots) -> float:
    """The same of each worker between its own first start and last end, averaged over the workers."""
    return statistics.fmean(device_busy({agent: spans}) for agent, spans in slots.items())


def hand_over_s(slots: Slots) -> float:
    """Median seconds between two trials of a worker."""
    gaps = [after.start - span.end for spans in slots.values() for span, after in itertools.pairwise(spans)]
    return statistics.median(gaps)


def trials_per_minute(slots: Slots) -> float:
    """Trials over the time from the first start to the last end."""
    spans = [span for spans in slots.values() for span in spans]
    return 60 * len(spans) / (max(span.end for span in spans) - min(span.start for span in spans))


def run_study(answer: Step | None, trial_s: float, trials: int, workers: int) -> StudyState:
    """A study whose model answers like this; without an answer, one of the embedded arms."""
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        tiny = make_tiny_study(Path(folder))
        count_in_seconds(tiny, trial_s)
        up = ("up", "--target", "tiny", "--data", "standin", "--device", "cpu")
        limits = ("--trials", str(trials), "--workers", str(workers))
        if answer is None:
            done = tiny.swarm(*up, *limits, "--proposer", "embedded", timeout=3600)
        else:
            with FakeLLM([answer]) as server:
                done = tiny.swarm(*up, *limits, "--proposer", f"openai:fake-1@{server.url}", timeout=3600)
        if done.returncode != 0:
            raise SystemExit(f"the study ended with exit code {done.returncode}: {done.stderr}")
        return tiny.study()


def slow_answers(seconds: float) -> Callable[[Request], str]:
    """A model that thinks for so long and then changes one harmless constant to a value that nobody has tried."""
    numbers = itertools.count()

    def answer(request: Request) -> str:
        number = next(numbers)
        time.sleep(seconds)
        line = re.search(r"(?m)^WEIGHT_DECAY = .*$", request.prompt)
        assert line is not None
        known = re.findall(r'"id": "(t\d+)"', request.prompt)
        value = f"WEIGHT_DECAY = {1.1e-6 * 1.3**number:.4g}  # search: log(1e-5, 1e-2)"
        return envelope(line[0], value, hypothesis=f"decay, step {number}", family="regularisation", cites=known[-2:])

    return answer


def row(figure: Figure) -> str:
    ratio = f"{figure.ours / figure.baseline:.3f}" if figure.baseline else ""
    return f"| {figure.bench} | {figure.ours:.3f} | {figure.baseline:.3f} | {ratio} | {figure.unit} | {figure.n} |"


def count_in_seconds(tiny: TinyStudy, trial_s: float) -> None:
    path = tiny.root / "models/tiny/target.toml"
    text = re.sub(r"(?m)^budget = .*$", f"budget = {trial_s:g}", path.read_text().replace('"samples"', '"seconds"'))
    path.write_text(re.sub(r"(?m)^walltime_limit_s = .*$", f"walltime_limit_s = {10 * trial_s + 60:g}", text))
    tiny.repo.commit("a budget in seconds")


if __name__ == "__main__":
    sys.exit(main())
