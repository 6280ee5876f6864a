import re

from co3d.report import label_colours


def test_labels_have_different_colours_while_there_are_enough():
    colours = label_colours(tuple("abcdefghi"))
    assert len(set(colours.values())) == 9
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())


def test_many_labels_reuse_colours_in_order():
    assert len(label_colours(tuple(f"label {number}" for number in range(400)))) == 400
