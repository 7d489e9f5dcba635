"""A study whose proposer is a real small model that mostly answers rubbish: does it survive, and does the device work?

    for port in 8123 8124; do
        python -m llama_cpp.server --model FILE.gguf --n_ctx 2560 --n_threads 1 --n_threads_batch 1 --port $port &
    done
    export SWARM_LLM_MAX_PROMPT=1400 SWARM_LLM_MAX_OUTPUT=60
    nice -n 19 python benchmarks/small_model.py --base-url http://127.0.0.1:8123/v1 http://127.0.0.1:8124/v1 \\
        --model gemma --answers 240 --trials 60 --trial-s 20 [--json]

A server for each worker keeps that worker's prompt: a small server remembers the latest one only. One thread each,
because several would wait for one another beside the trainings.

Studies of the tiny target of the tests, two workers on the CPU, one after the other until the server has answered
`--answers` times. Every answer is in a transcript; each proposal that failed is a record with its code and reason, and
the embedded arms propose in its place.

    answers          calls that the server answered, and how many of them became a trial
    reasons          of answers that came to nothing, in the records; and the refusals that hold them, by code
    slot busy        share of each worker's time, first start to last end, with a trial of its own running
    device busy      the same with any trial running

The baseline of the busy shares is a study of the embedded arms alone.
"""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.tiny_study import TinyStudy, make_tiny_study
from idle import Figure, count_in_seconds, device_busy, row, slot_busy, slots_of

from swarm.study.state import StudyState

UP = ("up", "--target", "tiny", "--data", "standin", "--device", "cpu", "--workers", "2")


@dataclass(frozen=True)
class Outcome:
    """One study: how it stands in the brain, and what the server did in it."""

    study: StudyState
    calls: Counter[str]  # "answered", or the kind of the failure
    refusals: tuple[tuple[str, str], ...]  # code and detail of the records that refuse the model's proposals

    @property
    def reasons(self) -> list[str]:
        """One for each answer that came to nothing, as the records tell; numbers in them are left out."""
        found = [reason for code, detail in self.refusals for reason in _reasons(code, detail)]
        return [re.sub(r"\d+", "N", reason)[:150] for reason in found]


def _reasons(code: str, detail: str) -> list[str]:
    """A failed proposal lists those of its answers, if the server gave any; the gate refuses the last answer."""
    listed = re.split(r" ?\(\d\) ", detail.partition("; answers: ")[2])[1:]
    return listed if code.startswith("llm_") else [*listed, detail]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", nargs="+", required=True, help="one server for all, or one for each worker")
    parser.add_argument("--model", required=True)
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--trial-s", type=float, default=15.0, help="seconds of training a trial")
    parser.add_argument("--trials", type=int, default=40, help="of one study, 5 of them for the noise floor")
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    options = parser.parse_args()
    proposers = [f"openai:{options.model}@{url}" for url in options.base_url]
    outcomes: list[Outcome] = []
    while sum(outcome.calls["answered"] for outcome in outcomes) < options.answers:
        outcomes.append(run_study(proposers, options.trial_s, options.trials))
        latest = outcomes[-1]
        print(f"study {len(outcomes)}: {describe(latest)}", file=sys.stderr, flush=True)
        if not outcomes[-1].calls["answered"]:
            raise SystemExit(
                f"{', '.join(options.base_url)} answered nothing in a whole study: is the model served there?"
            )
    alone = run_study(["embedded"], options.trial_s, options.trials)
    for figure in figures(outcomes, alone):
        print(figure.line() if options.json else row(figure), flush=True)
    if not options.json:
        reasons = Counter(reason for outcome in outcomes for reason in outcome.reasons)
        for reason, count in reasons.most_common(12):
            print(f"{count:4d}  {reason}")
    return 0


def describe(outcome: Outcome) -> str:
    """One study in a line, so that nothing is lost when a long run is ended."""
    trials, slots = outcome.study.trials.values(), slots_of(outcome.study)
    ended = sum(trial.finished is not None for trial in trials)
    by_model = sum(trial.claim.proposer.startswith("openai:") for trial in trials)
    return (
        f"calls {dict(outcome.calls)}; reasons recorded {len(outcome.reasons)}; {ended} of {len(trials)} trials ended, "
        f"{by_model} proposed by the model; device busy {device_busy(slots):.3f}, slot busy {slot_busy(slots):.3f}"
    )


def figures(outcomes: list[Outcome], alone: Outcome) -> Iterator[Figure]:
    calls = sum((outcome.calls for outcome in outcomes), Counter[str]())
    trials = [trial for outcome in outcomes for trial in outcome.study.trials.values()]
    by_model = sum(trial.claim.proposer.startswith("openai:") for trial in trials)
    refused = Counter(
        refusal.code
        for outcome in outcomes
        for refusal in outcome.study.rejections
        if refusal.proposer.startswith("openai:")
    )
    answered = calls["answered"]
    yield Figure("small model: answers", answered, sum(calls.values()), "count (of calls)", answered)
    reasons = sum(len(outcome.reasons) for outcome in outcomes)
    yield Figure("small model: answers refused with their reason in a record", reasons, answered, "count", answered)
    yield Figure("small model: trials that it proposed", by_model, len(trials), "count (of trials)", answered)
    for code, count in sorted(refused.items()):
        yield Figure(f"small model: refused, {code}", count, refused.total(), "count (of refusals)", answered)
    ended = sum(trial.finished is not None for trial in trials)
    yield Figure("small model: trials with an ending", ended, len(trials), "count (of trials)", len(trials))
    slots = [slots_of(outcome.study) for outcome in outcomes]
    for name, share in (("slot busy", slot_busy), ("device busy", device_busy)):
        ours = sum(map(share, slots)) / len(slots)
        yield Figure(f"small model: {name}", ours, share(slots_of(alone.study)), "share", len(trials))


def run_study(proposers: Sequence[str], trial_s: float, trials: int) -> Outcome:
    """Raises SystemExit when the study does not end well."""
    with tempfile.TemporaryDirectory(prefix="small-model-") as folder:
        tiny = make_tiny_study(Path(folder))
        count_in_seconds(tiny, trial_s)
        chosen = [
            argument
            for number in (1, 2)
            for argument in ("--worker", f"worker_{number}={proposers[number % len(proposers)]}")
        ]
        done = tiny.swarm(*UP, "--trials", str(trials), *chosen, timeout=7200)
        if done.returncode != 0:
            raise SystemExit(f"the study ended with exit code {done.returncode}: {done.stderr}")
        study = tiny.study()
        refusals = tuple((r.code, r.detail) for r in study.rejections if r.proposer.startswith("openai:"))
        return Outcome(study, calls_of(tiny), refusals)


def calls_of(tiny: TinyStudy) -> Counter[str]:
    """What the transcripts say of each call. One with a usage was answered, if only with nothing."""
    entries = [json.loads(path.read_text()) for path in (tiny.root / ".swarm").rglob("llm/*/*.json")]
    return Counter("answered" if "answer" in entry or entry["usage"] else entry["failed"] for entry in entries)


if __name__ == "__main__":
    sys.exit(main())
