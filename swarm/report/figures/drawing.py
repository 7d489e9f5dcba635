"""A figure as plotly reads it, as plain values, and its two looks. Pure.

plotly's own objects check and copy every number, which takes seconds for 2,000 trials; a live page draws from these
values, and whoever wants the objects (a notebook) gets them from `figure`.
"""

import html
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from plotly import graph_objects as go
from plotly import io as plotly_io

from swarm.report.figures.style import BAND, FAINT, GREY, INK

_TAG = re.compile(r"<[^>]*>")
CLEAR = "rgba(0,0,0,0)"
_NO_COLOURS = frozenset({"x", "y", "base", "hovertext", "text", "template"})


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


# The palette is told apart on both grounds; what is nearly black or nearly white changes sides.
_IN_THE_DARK = {
    INK: "#E8EAED",
    FAINT: "#3C4148",
    GREY: "#8A9099",
    BAND: "rgba(86,180,233,0.28)",
    "white": "#1B1E22",
    "#666666": "#9AA0A6",
}


@dataclass(slots=True)
class Drawing:
    """`traces` and `layout` in plotly's own terms."""

    traces: list[dict[str, object]] = field(default_factory=list)
    layout: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, figure: go.Figure) -> "Drawing":
        fields = figure.to_plotly_json()
        return cls(fields["data"], fields["layout"])

    def add(self, kind: str, **fields: object) -> None:
        """One trace of a kind, such as scatter or bar."""
        self.traces.append({"type": kind, **fields})

    def figure(self) -> go.Figure:
        return go.Figure(data=self.traces, layout=self.layout)

    def heading(self) -> tuple[str, str]:
        """Title and subtitle as plain text, for a page that has headings of its own."""
        title = self.layout.get("title")
        if not isinstance(title, dict):
            return "", ""
        subtitle = title.get("subtitle")
        note = subtitle.get("text", "") if isinstance(subtitle, dict) else ""
        return _plain(str(title.get("text", ""))), _plain(str(note))

    def to_json(self, theme: Theme) -> str:
        """For `Plotly.react`, on the ground of the page and without a title."""
        title, note = self.heading()
        layout = {name: value for name, value in self.layout.items() if name not in ("title", "template")}
        layout |= {
            "template": _template(theme),
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "autosize": True,
            "modebar": {"bgcolor": CLEAR},
        }
        fields: dict[str, object] = {"title": title, "note": note, "data": self.traces, "layout": layout}
        if theme is Theme.DARK:
            fields |= {"data": _dark(self.traces), "layout": _dark(layout)}
        return json.dumps(fields, separators=(",", ":"), allow_nan=False)


@cache
def _template(theme: Theme) -> object:
    return plotly_io.templates["plotly_dark" if theme is Theme.DARK else "plotly_white"].to_plotly_json()


def _dark(value: object) -> object:
    match value:
        case str():
            return _IN_THE_DARK.get(value, value)
        case dict():
            return {key: item if key in _NO_COLOURS else _dark(item) for key, item in value.items()}
        case list() | tuple():
            return [_dark(item) for item in value]
    return value


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub("", text))
