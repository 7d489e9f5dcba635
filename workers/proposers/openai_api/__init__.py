"""Proposals from a model behind any OpenAI-compatible server (Chat Completions)."""

from workers.proposers.openai_api.proposer import OpenAIProposer

__all__ = ["OpenAIProposer"]
