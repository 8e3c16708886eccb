"""Callers that speak, and the show that `agent demo` puts on with them."""
