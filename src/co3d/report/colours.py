"""One colour per label, the same in the terminal, on the video and in the timeline picture."""

# Neighbours in this list differ in hue and lightness; black text is readable on all of them.
PALETTE = (
    "#9aa5b1",
    "#4ea8de",
    "#f4a259",
    "#5bc8a5",
    "#e56b6f",
    "#b08be0",
    "#f2cf5b",
    "#7ac74f",
    "#e88fc0",
    "#5fd0d9",
    "#c9a37c",
    "#8f9cff",
)


def label_colours(labels: tuple[str, ...]) -> dict[str, str]:
    """Label -> "#rrggbb". If there are more labels than colours, colours repeat."""
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(labels)}
