"""Sizes of a model's prompt over the length of a study, in tokens by our estimate (four characters each).

    python benchmarks/prompts.py [--json]

The study is made up: over the shipped ResNeXt, with changes of constants, structural edits, crashes and descriptions as
long as they may be. `beside_source` is all but the program itself. Each length is one prompt.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from factories.prompts import long_study

from workers.render import MAX_BESIDE_SOURCE, estimate_tokens, render

LENGTHS = (1, 20, 60, 100, 200, 300)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line (the default prints a table)")
    options = parser.parse_args()
    rows = [row(trials) for trials in LENGTHS]
    if options.json:
        print(json.dumps({"benchmark": "prompts", "limit_beside_source": MAX_BESIDE_SOURCE, "rows": rows}))
    else:
        print(f"{'trials':>7} {'tokens':>7} {'beside the source':>18} {'records shown':>14}")
        for one in rows:
            print(f"{one['trials']:>7} {one['tokens']:>7} {one['beside_source']:>18} {one['shown']:>14}")
    return 0


def row(trials: int) -> dict[str, int]:
    briefing = long_study(trials)
    prompt = render(briefing)
    beside = prompt.tokens - estimate_tokens(briefing.incumbent.source)
    return {"trials": trials, "tokens": prompt.tokens, "beside_source": beside, "shown": len(prompt.shown)}


if __name__ == "__main__":
    sys.exit(main())
