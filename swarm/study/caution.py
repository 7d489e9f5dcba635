"""What has to stand in red beside every number of a study. Pure."""

from swarm.records import Grade

CIFAR, STANDIN, OWN = "cifar100", "standin", "own"


def caution(data: str, grade: Grade) -> str | None:
    """None where the numbers say what they seem to say."""
    if grade == "self-reported":
        return "Self-reported: each number is what the program printed"
    if data in (CIFAR, OWN):
        return None
    return f"{'Stand-in' if data == STANDIN else data} data, no claim about CIFAR-100"
