"""python -m swarm.pods.fake FOLDER: the fake provider, until no pod is left."""

import sys
from pathlib import Path

from swarm.pods.fake.serving import serve

serve(Path(sys.argv[1]))
