"""What was pickled by names of earlier versions says so clearly."""

import pickle

import pytest


@pytest.mark.parametrize(
    ("module", "name"),
    [("co3d.stream.program", "StepProgram"), ("co3d.backends.snapshot", "Snapshot")],
)
def test_pickles_with_old_module_names_raise_a_clear_error(module: str, name: str) -> None:
    pickled = f"c{module}\n{name}\n.".encode()
    with pytest.raises(ImportError, match=r"of an earlier version; .*can be read"):
        pickle.loads(pickled)
