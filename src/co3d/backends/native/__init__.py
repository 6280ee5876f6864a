"""Kernels of our own for step programs on the CPU."""
