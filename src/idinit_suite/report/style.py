"""The one look of all figures and charts: colours for colour-blind eyes, dashes, markers, and the signs of outcomes."""

from __future__ import annotations

from idinit.diagnostics.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION

from .outcomes import Outcome

# Dash and marker distinguish what shares a colour, and every line after the seventh.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE, SKY_BLUE)
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "h", "d")

# The same for Vega-Lite; black becomes the colour of the text, which is light on a dark page.
CHART_COLOURS = tuple("currentColor" if colour == BLACK else colour for colour in COLOURS)
CHART_DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 2))
CHART_SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right"),
    "stroke",
)

ZERO = VERMILION  # of exact zeros on a logarithmic scale

ICONS: dict[Outcome, str] = {
    "reproduced": "✓",
    "partly": "◐",
    "holds, not distinctive": "≈",
    "applies, benefit not measured": "○",
    "undecided": "?",
    "not reproduced": "✗",
    "not enough runs": "…",
    "not run at this scale": "–",
}
