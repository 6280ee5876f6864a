"""Step programs on a GPU: kernels of our own in Triton, whole steps as CUDA graphs."""
