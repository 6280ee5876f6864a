"""Step programs as files that run without the model's Python code."""

from co3d.export.artefact import Artefact, export_program, is_exported, load_program

__all__ = ["Artefact", "export_program", "is_exported", "load_program"]
