"""The style sheet and the script that both pages have, as text."""

from functools import cache
from importlib.resources import files


@cache
def asset(name: str) -> str:
    """A file of this folder."""
    return (files("swarm.report.page") / name).read_text(encoding="utf-8")


def style_sheet() -> str:
    """Colours of both schemes, text, tables, results and diffs; phone and print."""
    return asset("look.css")


def plots_script() -> str:
    """How a figure is fitted into its place."""
    return asset("plots.js")
