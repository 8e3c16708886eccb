"""Agents as bundles describe them: personas, tools, and handing over."""

from agent.agents.configured import ConfiguredAgent

__all__ = ["ConfiguredAgent"]
