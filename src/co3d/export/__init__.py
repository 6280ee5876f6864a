"""Exports step programs to files, which run without the model's Python code, and loads them."""

from co3d.export.artefact import Artefact, export_program, is_exported, load_program

__all__ = ["Artefact", "export_program", "is_exported", "load_program"]
