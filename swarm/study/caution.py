"""What has to stand in red beside every number of a study. Pure."""

from swarm.records import Grade
from swarm.records.data import reservation


def caution(data: str, grade: Grade) -> str | None:
    """None where the numbers say what they seem to say."""
    if grade == "self-reported":
        return "Self-reported: each number is what the program printed"
    return reservation(data)
