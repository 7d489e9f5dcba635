"""`python -m workers --settings FILE --agent-id worker_1`: one research worker. Started by `swarm up`, or by hand."""

import argparse
import sys
from pathlib import Path

from swarm.errors import SwarmError
from swarm.execution.runner import Walkaway
from swarm.orchestrator.settings_file import load_settings
from workers.loop import work
from workers.redact import take_secrets
from workers.worker import open_worker


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings.json of the study")
    parser.add_argument("--agent-id", required=True, help="worker_1, worker_2, ...")
    arguments = parser.parse_args()
    secrets = take_secrets()
    try:
        with open_worker(load_settings(arguments.settings), arguments.agent_id, secrets) as worker:
            work(worker)
    except Walkaway:
        print(f"{arguments.agent_id}: the orchestrator has gone; `swarm up --resume` goes on", file=sys.stderr)
        return 1
    except SwarmError as error:
        print(f"{arguments.agent_id}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
