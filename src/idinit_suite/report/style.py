"""The one look of all figures and charts: colours for colour-blind eyes, dashes, markers, and the signs of outcomes."""

from __future__ import annotations

from .outcomes import Outcome

# The colours of Okabe and Ito, without the yellow that fades on white. Dash and marker distinguish what shares a colour, and
# every line after the seventh.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "h", "d")

# The same for Vega-Lite; black becomes the colour of the text, which is light on a dark page.
CHART_COLOURS = tuple("currentColor" if colour == "#000000" else colour for colour in COLOURS)
CHART_DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 2))
CHART_SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right"),
    "stroke",
)

ZERO = COLOURS[1]  # of exact zeros on a logarithmic scale

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
