"""Backends: what compiles a step program and runs its steps."""
