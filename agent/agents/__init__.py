"""Agents as bundles describe them: personas, tools, and handing over."""
