"""What the control plane and the harness agree on about one trial: words, folder, heartbeat. Standard library only.

Both planes import this room, it is part of the harness's hash, and the sandbox lets a candidate read it.
"""
