"""Runpod's REST API v2 as a provider. Version 1 ends on 1 December 2026 and is not spoken here."""

from swarm.pods.runpod.client import RunpodPods

__all__ = ["RunpodPods"]
