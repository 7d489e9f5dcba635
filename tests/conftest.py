"""What holds for every test."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# The tests start hundreds of short processes: none compiles again what another has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples each time and on each machine, so that a failure is one for everybody; its blob stands beside it.
settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")
