"""The data plane: the harness and the targets. Torch lives only here; nothing of swarm or workers is imported."""
