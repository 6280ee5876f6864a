"""What a publisher's keys must do to a network of ours."""

from collections.abc import Iterable

from co3d.weights.keymaps import OPTIONAL_SUFFIX, match_keys


def require_exact_cover(keys: list[str], names: Iterable[str], title: str) -> None:
    """Assert that keys are of a publisher, and that each names one of all our tensors."""
    match = match_keys(keys, names)
    assert match.key_map.title == title
    assert match.unused == []
    assert match.missing == []
    given = {name for name in names if not name.endswith(OPTIONAL_SUFFIX)}
    assert given <= match.source_of.keys()
    assert len(match.source_of) == len(keys)
