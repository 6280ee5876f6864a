"""Data sets: videos, their labels, clips of them."""
