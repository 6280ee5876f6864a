"""The triton backend: co3d's own GPU kernels, with each step captured as one CUDA graph."""
