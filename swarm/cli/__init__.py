"""The command line. `main` turns every outcome into an exit code: 0 ok, 1 failed, 2 usage, 130 interrupted."""

import sys
from pathlib import Path

from swarm.errors import SwarmError


def main() -> int:
    import typer

    from swarm.cli.app import app

    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        if message := error.format_message():  # without arguments the help has been shown already
            _refuse(f"{message} See: swarm --help", error.exit_code)
        return error.exit_code
    except SwarmError as error:
        _refuse(str(error), error.exit_code)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("swarm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is left to say to it
        return 0
    except OSError as error:  # a folder that cannot be written to, a disk without room
        from swarm.brain.room import free_mib

        where = Path(str(error.filename)).parent if error.filename else Path.cwd()
        text = f"{error.strerror or error}: {error.filename or where}"
        _refuse(f"{text} ({free_mib(where):.0f} MiB are free there). Check its permissions and disk.", 1)
        return 1
    return code if isinstance(code, int) else 0


def _refuse(text: str, exit_code: int) -> None:
    """For a person on stderr; where JSON was asked for also as an object on stdout."""
    if "--json" in sys.argv[1:]:
        import json

        print(json.dumps({"schema_version": 1, "error": text, "exit_code": exit_code}), flush=True)
    print(f"swarm: {text}", file=sys.stderr)
