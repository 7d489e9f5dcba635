"""Half an hour on a card, unattended: what the code believes of it, tried; one file of results, a figure and a table.

    make gpu-evening [ARGS="..."]
    python benchmarks/gpu_evening [--device cuda|cpu] [--short] [--minutes M] [--only WORDS] [--out FOLDER] [--json]

    1  doctor, self-test, the tests marked gpu
    2  each target by its harness, eager and compiled, alone and beside itself
    3  studies: one worker and two; programs that run out of memory, pass their cap, compile; a kill of everything

FOLDER gets results.json, figure.png and table.md (for docs/benchmarks.md). Each step's result is written when it is
known: a call that was interrupted, or whose minutes were up, is gone on with by the same command, so that three calls
of ten minutes do as well as one of thirty. Results of another commit, card or torch are set aside and not mixed.

--only takes the steps whose names contain one of these words, in the order of the words: for a card lent for minutes.
--short takes the smallest budgets. On a CPU, where compiling pays for nothing, only eager steps are run. Expectations
(compiled at least 1.25 times eager) are shown beside what was found, and fail nothing.
"""

import argparse
import sys
from pathlib import Path

import evening_figure
import evening_table
from evening_results import Results
from evening_run import Evening
from evening_steps import chosen, planned

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--short", action="store_true", help="the smallest budgets")
    parser.add_argument("--minutes", type=float, default=30.0, help="this call ends by then")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="steps whose names contain them")
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-evening")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object at the end")
    options = parser.parse_args()
    evening = Evening(ROOT, options.out.absolute(), options.device, short=options.short, minutes=options.minutes)
    try:
        steps = chosen(planned(evening), options.only)
    except ValueError as error:
        parser.error(str(error))
    results = Results.open(evening)
    evening.run(steps, results)
    evening_figure.draw(results, evening.folder / "figure.png")
    (evening.folder / "table.md").write_text(evening_table.text(results), encoding="utf-8")
    print(results.to_json() if options.json else evening_table.ending(results, evening.folder))
    return 1 if any(step.state == "failed" for step in results.steps.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
