"""Several small plots in one figure, as plotly's layout has them."""

import math
from collections.abc import Sequence

Axis = dict[str, object]


def panels(
    titles: Sequence[str], *, columns: int, gap: tuple[float, float] = (0.05, 0.12), shared_y: bool = True
) -> dict[str, object]:
    """The axes and titles of so many panels, row by row from the top; `gap` is (across, down), as parts of the figure.

    The axes of panel n are x<n> and y<n>, without a number for the first. With `shared_y` all have one scale, written
    at the left of each row.
    """
    count = len(titles)
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    width, height = ((1 - gap * (many - 1)) / many for gap, many in zip(gap, (columns, rows), strict=True))
    layout: dict[str, object] = {}
    annotations = []
    for index, title in enumerate(titles):
        row, column = divmod(index, columns)
        left, top = column * (width + gap[0]), 1 - row * (height + gap[1])
        number = "" if index == 0 else str(index + 1)
        across: Axis = {"domain": [left, left + width], "anchor": f"y{number}"}
        down: Axis = {"domain": [max(0.0, top - height), top], "anchor": f"x{number}"}
        if shared_y and index:
            down |= {"matches": "y", "showticklabels": column == 0}
        layout |= {f"xaxis{number}": across, f"yaxis{number}": down}
        annotations.append(_title(title, left + width / 2, top))
    return layout | {"annotations": annotations}


def axis(layout: dict[str, object], name: str, panel: int, **fields: object) -> None:
    """Add to an axis ("x" or "y") of a panel."""
    key = f"{name}axis{'' if panel == 1 else panel}"
    known = layout[key]
    assert isinstance(known, dict)
    layout[key] = known | fields


def _title(text: str, middle: float, top: float) -> dict[str, object]:
    place = {"x": middle, "y": top, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 14}, **place}
