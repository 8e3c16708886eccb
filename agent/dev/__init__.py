"""`agent dev`: services and a worker that stay up, and a page to talk with an agent by microphone."""
