"""What a study runs on: the CPU, or which cards of this machine."""

from collections.abc import Callable

from swarm.errors import UsageError
from swarm.gpu import detect_probe
from swarm.gpu.cards import chosen_cards, left_out
from swarm.gpu.device_class import device_class as class_of
from swarm.gpu.unsupported import unsupported
from swarm.study.devices import ELSEWHERE, device_class
from swarm.study.options import DeviceChoice, UpOptions
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState
from swarm.trial.config import Device


def chosen_device(options: UpOptions, say: Callable[[str], None]) -> tuple[Device, tuple[str, ...]]:
    """The device of a new study and its cards; those of nodes are not seen from here. Raises as the two below."""
    if options.executor == "local":
        device = device_for(options.device)
        return device, cards_for(device, options.gpus, say)
    return options.device if options.device != "auto" else device_for(options.device), ()


def device_for(choice: DeviceChoice) -> Device:
    """Raises UsageError for a GPU that is there and that no study can use."""
    probe = detect_probe(choice)
    if choice != "cpu" and (refusal := unsupported(probe)) is not None:
        raise UsageError(refusal)
    return "cuda" if probe.kind == "cuda" else "cpu"


def cards_for(device: Device, asked: str, say: Callable[[str], None]) -> tuple[str, ...]:
    """The UUIDs of the cards that the study's trials may have; none on a CPU. Raises UsageError."""
    if device == "cpu":
        return ()
    readings = detect_probe(device).read()
    chosen = chosen_cards(readings, asked)
    if (others := left_out(readings, chosen)) is not None:
        say(others)
    return tuple(reading.uuid for reading in chosen)


def with_cards(
    settings: RunSettings, changes: tuple[str, ...], ran_on: str, options: UpOptions, say: Callable[[str], None]
) -> tuple[RunSettings, tuple[str, ...]]:
    """Other cards for a study that goes on, where a person names some. Raises UsageError for another model."""
    if "gpus" not in options.given or settings.device == "cpu":
        return settings, changes
    cards = cards_for(settings.device, options.gpus, say)
    if (name := device_name(settings.device, cards)) != ran_on:
        raise UsageError(
            f"--resume: --gpus names a {name}, and the study ran on a {ran_on}: results would not compare."
        )
    change = f"cards: {','.join(settings.cards) or 'any'} -> {','.join(cards)}"
    return settings.model_copy(update={"cards": cards}), (*changes, change)


def require_same_class(settings: RunSettings, study: StudyState | None) -> None:
    """Raises UsageError where trials on this machine would not compare with those that the study has, of nodes say."""
    ran_on = device_class(study) if study is not None else None
    here = class_of(settings.device, device_name(settings.device, settings.cards))
    if ran_on not in (None, here):
        raise UsageError(
            f"--resume: this machine's device is a {here}, and the trials of {settings.study_id} ran on a {ran_on}: "
            "results would not compare. Go on where that is, with --executor, or start a new study without --resume."
        )


def device_name(device: Device, cards: tuple[str, ...], *, on_nodes: bool = False) -> str:
    if on_nodes:
        return ELSEWHERE
    probe = detect_probe(device)
    return next((reading.name for reading in probe.read() if reading.uuid in cards), probe.name)
