"""What a model is told of a target's grade and of the form that its program has to keep. Pure."""

from swarm.program import several
from workers.briefing import Briefing


def kept_form(briefing: Briefing) -> dict[str, str]:
    """Who makes the number, and what of the program has to stay as it is."""
    terms = briefing.terms
    scored = "scores it on data that neither you nor the program sees"
    if terms.grade == "self-reported":
        scored = "takes the number that it prints"
    if terms.grade == "sealed":
        return {"scored": scored, "contract": "Keep `build_model()` and `main()`."}
    contract = "What the program reads, writes and prints must keep its form."
    if several.is_several(briefing.incumbent.source):
        mark = several.mark("PATH")
        contract += f" Lines such as `{mark}` say which file follows: never change them."
    return {"scored": scored, "contract": contract}
