"""Buttons in a notebook: the same words as on the page and in `swarm steer`."""

import html

import ipywidgets

from swarm.errors import SwarmError
from swarm.study.steering import KNOWN_FAMILIES
from swarm.watch.live import LiveDashboard
from swarm.watch.steering import ACTIONS, LIMITS

_FAMILIES = ("veto", "allow", "boost")


def steering_form(dashboard: LiveDashboard) -> ipywidgets.VBox:
    """A row for the action, what it is about and why. Nothing is written before the button is pressed."""
    action = ipywidgets.Dropdown(options=[*ACTIONS, *LIMITS], description="do")
    subject = ipywidgets.Combobox(placeholder="t0012", description="about", options=[])
    text = ipywidgets.Text(placeholder="one line, for the models", description="why")
    button = ipywidgets.Button(description="Tell the workers", button_style="primary")
    said = ipywidgets.HTML(
        "A veto is enforced, and so are trials (in all) and hours (from now). Note, boost and pin are hints that "
        "language models read."
    )

    def offer(_: object) -> None:
        subject.options = KNOWN_FAMILIES if action.value in _FAMILIES else ()
        subject.disabled = action.value == "note"

    def press(_: object) -> None:
        try:
            answer = dashboard.tell(action.value, "" if subject.disabled else subject.value.strip(), text.value)
        except SwarmError as error:
            answer = f"Refused: {error}"
        said.value = html.escape(answer)

    action.observe(offer, names="value")
    button.on_click(press)
    offer(None)
    return ipywidgets.VBox([action, subject, text, button, said])
