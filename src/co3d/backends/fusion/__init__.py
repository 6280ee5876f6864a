"""Which operators of a step graph one kernel runs together, whoever has the kernels."""
