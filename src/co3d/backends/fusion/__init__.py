"""Decides which operators of a step graph one kernel runs, for all backends with own kernels."""
