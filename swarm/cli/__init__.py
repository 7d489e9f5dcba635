"""The command line. `main` turns every outcome into an exit code: 0 ok, 1 failed, 2 usage, 130 interrupted."""

import errno
import io
import math
import os
import sys
from pathlib import Path

from swarm.errors import Escaped, SwarmError, contained


def main() -> int:
    """Nobody is shown a traceback: what no code expected is a sentence too, and a file has the rest."""
    _three_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be bytes that no encoding has
    try:
        answer = contained(_outcome, passing=(SystemExit,))
    except KeyboardInterrupt:
        print("swarm: interrupted", file=sys.stderr)
        return 130
    if isinstance(answer, Escaped):
        _refuse(f"this is a fault of swarm itself, {answer.text}. {_written_down(answer.error)}", 1)
        return 1
    return answer


def _outcome() -> int:
    import typer

    from swarm.cli.app import app

    try:
        code = app(standalone_mode=False, prog_name="swarm")
        sys.stdout.flush()  # a reader that has gone or a full disk is told of here, and not when Python ends
    except typer.TyperException as error:
        if message := error.format_message():  # without arguments the help has been shown already
            command = getattr(getattr(error, "ctx", None), "command_path", "swarm")
            _refuse(f"{message.rstrip('.')}. See: {command} --help", error.exit_code)
        return error.exit_code
    except SwarmError as error:
        _refuse(str(error), error.exit_code)
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # the library of the command line makes an exit with 1 of a pipe that has broken
        _let_go_of_stdout()  # its reader has gone: nothing is left to say to it
        return 0
    except OSError as error:  # a folder that cannot be written to, a disk without room
        _refuse(_told(error), 1)
        if error.errno == errno.ENOSPC and error.filename is None:  # what stdout still holds has no room either
            _let_go_of_stdout()
        return 1
    return code if isinstance(code, int) else 0


def _told(error: OSError) -> str:
    from swarm.brain.room import free_mib

    said = error.strerror or str(error)
    try:
        where = Path(str(error.filename)).parent if error.filename else Path.cwd()
        mib = free_mib(where)
        free = f" ({mib:.0f} MiB are free there)" if math.isfinite(mib) else ""
    except OSError:  # the folder that we are in was deleted
        where, free = Path("this folder"), ""
    return f"{said}: {error.filename or where}{free}. Check its permissions and disk."


def _refuse(text: str, exit_code: int) -> None:
    """For a person on stderr; where JSON was asked for also as an object on stdout."""
    if "--json" in sys.argv[1:]:
        import json

        try:
            print(json.dumps({"schema_version": 1, "error": text, "exit_code": exit_code}), flush=True)
        except OSError:
            _let_go_of_stdout()
    print(f"swarm: {text}", file=sys.stderr)


def _three_streams() -> None:
    """What was closed before we began is nowhere, so that no file of ours gets its number: a child would print into
    it."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _let_go_of_stdout() -> None:
    """What it still holds goes nowhere, at the end of the process too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _written_down(error: BaseException) -> str:
    """Where the traceback is, for whoever mends it."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="swarm-fault-", suffix=".txt", delete=False) as file:
            file.write(f"{sys.argv}\n\n{''.join(traceback.format_exception(error))}")
    except OSError as refused:
        return f"Where it happened could not be written down: {refused.strerror}."
    return f"Where it happened is in {file.name}: report it with that file, which holds your command line."
