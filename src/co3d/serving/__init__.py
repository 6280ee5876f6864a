"""The server: a live page, an API, metrics."""
