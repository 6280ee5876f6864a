import re

from co3d.report import label_colours


def test_labels_have_colours_of_their_own_while_there_are_enough():
    colours = label_colours(tuple("abcdefghi"))
    assert len(set(colours.values())) == 9
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())


def test_many_labels_take_colours_in_turn():
    assert len(label_colours(tuple(f"label {number}" for number in range(400)))) == 400
