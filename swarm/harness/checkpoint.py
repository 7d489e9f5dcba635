"""Opening a checkpoint that may be hostile: sizes first, then tensors only, then strictly the model's own names."""

import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from swarm.harness.errors import InvalidOutput
from swarm.trial.files import Unreadable, open_plain

LARGEST_CHECKPOINT = 1 << 30
LARGEST_PICKLE = 16 << 20


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads `path` into `model`, strictly. Raises InvalidOutput for anything but a plain set of its tensors."""
    try:
        with open_plain(path, LARGEST_CHECKPOINT) as file:
            _check_container(path.name, file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Unreadable as error:
        raise InvalidOutput(str(error)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidOutput(f"{path.name} holds more or less than tensors: {_first_line(error)}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise InvalidOutput(f"{path.name} is not a dictionary of tensors")
    try:
        model.load_state_dict(content, strict=True)
    except (RuntimeError, TypeError) as error:
        raise InvalidOutput(f"{path.name} does not fit build_model(): {error}") from error


def _check_container(name: str, file: BinaryIO) -> None:
    """An uncompressed zip of bounded size: what torch.save writes, and nothing that unfolds into more."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InvalidOutput(f"{name} is not a checkpoint of torch.save: {error}") from error
    file.seek(0)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InvalidOutput(f"{name} is compressed, which torch.save never does")
    if sum(entry.file_size for entry in entries) > LARGEST_CHECKPOINT:
        raise InvalidOutput(f"{name} unfolds into more than {LARGEST_CHECKPOINT} bytes")
    if any(entry.filename.endswith(".pkl") and entry.file_size > LARGEST_PICKLE for entry in entries):
        raise InvalidOutput(f"{name} has a pickle above {LARGEST_PICKLE} bytes")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
