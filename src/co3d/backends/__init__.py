"""Backends, which compile step programs for a device and run their steps."""
