"""Which cards of a machine a study may have. Pure: readings in, readings out."""

from collections.abc import Sequence

from swarm.errors import UsageError
from swarm.gpu.reading import DeviceReading

ALL = "all"


def chosen_cards(readings: Sequence[DeviceReading], asked: str = ALL) -> tuple[DeviceReading, ...]:
    """`all`: those of the first answering card's model. Otherwise numbers as `swarm gpu status` counts, or UUIDs or the
    beginnings of such, with commas between them. In the order of the machine, each once.

    Raises UsageError for a name that is none of a card's, for a lost card, and for cards of different models: a result
    on one says nothing about a result on the other.
    """
    if asked == ALL:
        first = next((reading for reading in readings if not reading.lost), readings[0])
        return tuple(reading for reading in readings if reading.name == first.name and not reading.lost) or (first,)
    wanted = {_card(readings, word.strip()).uuid for word in asked.split(",")}
    chosen = tuple(reading for reading in readings if reading.uuid in wanted)
    if lost := [reading for reading in chosen if reading.lost]:
        raise UsageError(f"--gpus {asked}: {lost[0].uuid} does not answer ({lost[0].fault}). Leave it out.")
    models = {reading.name for reading in chosen}
    if len(models) > 1:
        raise UsageError(
            f"--gpus {asked} names cards of different models ({', '.join(sorted(models))}), and a step of one is not a "
            "step of the other. Name cards of one model, and run a study for each."
        )
    return chosen


def left_out(readings: Sequence[DeviceReading], chosen: Sequence[DeviceReading]) -> str | None:
    """A sentence about the cards that a study has not got; None when it has all."""
    others = [reading for reading in readings if reading not in chosen]
    if not others:
        return None
    named = ", ".join(f"{reading.name} ({reading.uuid})" for reading in others)
    return f"Not used: {named}. A study runs on cards of one model; --gpus chooses others."


def _card(readings: Sequence[DeviceReading], word: str) -> DeviceReading:
    if word.isdigit() and int(word) < len(readings):
        return readings[int(word)]
    found = [reading for reading in readings if word and reading.uuid.startswith(word)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{number} = {reading.uuid} ({reading.name})" for number, reading in enumerate(readings))
    what = "is the beginning of several" if found else "is no card of this machine"
    raise UsageError(f"--gpus names {word!r}, which {what}: {known}")
