"""Why a phase ends without a result. Each error carries the exit code that the supervisor reads."""


class HarnessError(Exception):
    """Root of the harness's own errors. Messages name the value, the limit and the remedy."""

    exit_code = 1


class Diverged(HarnessError):
    """The training loss became NaN or infinite, or stayed above three times that of guessing."""

    exit_code = 10


class OutOfMemory(HarnessError):
    """The trial asked for more memory than its own cap allows."""

    exit_code = 11


class ContractBroken(HarnessError):
    """The program lacks `build_model` or `main`, or ended without `finish(model)`."""

    exit_code = 12


class InvalidOutput(HarnessError):
    """A checkpoint or logits that cannot be trusted: wrong shape, not finite, not a plain array, too large."""

    exit_code = 13


class DataMissing(HarnessError):
    """The data cache is not there or incomplete: run `python -m swarm.harness.data prepare`."""

    exit_code = 14
