"""Proposals from a coding agent: it edits a scratch copy of the one file, and nothing else that it does counts."""

from workers.proposers.cli_agent.agents import AgentSpec, load_agents
from workers.proposers.cli_agent.proposer import CliAgentProposer

__all__ = ["AgentSpec", "CliAgentProposer", "load_agents"]
