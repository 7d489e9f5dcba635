"""Why a phase ends without a result. Each error carries the exit code of the contract."""

from swarm.trial.contract import ExitCode


class HarnessError(Exception):
    """Root of the harness's own errors. Messages name the value, the limit and the remedy."""

    exit_code = ExitCode.CRASHED


class Diverged(HarnessError):
    """The training loss became NaN or infinite, or stayed above three times that of guessing."""

    exit_code = ExitCode.DIVERGED


class OutOfMemory(HarnessError):
    """The trial asked for more memory than its own cap allows."""

    exit_code = ExitCode.OUT_OF_MEMORY


class ContractBroken(HarnessError):
    """The program lacks `build_model` or `main`, or ended without `finish(model)`."""

    exit_code = ExitCode.CONTRACT_BROKEN


class InvalidOutput(HarnessError):
    """A checkpoint or logits that cannot be trusted: wrong shape, not finite, not a plain array, too large."""

    exit_code = ExitCode.INVALID_OUTPUT


class DataMissing(HarnessError):
    """The data cache is not there or incomplete: run `python -m swarm.harness.prepare`."""

    exit_code = ExitCode.DATA_MISSING
