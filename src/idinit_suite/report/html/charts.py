"""The charts as Vega-Lite specifications; the page only fills in which columns and which rows they show."""

from __future__ import annotations

from typing import Any

from ..layers import TITLES
from ..style import CHART_COLOURS, CHART_DASHES, CHART_SHAPES, ZERO

_INK = {"labelColor": "currentColor", "titleColor": "currentColor"}  # follows the page, light or dark
_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "axis": {
        **_INK,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "domainColor": "currentColor",
        "tickColor": "currentColor",
    },
    "legend": {**_INK, "labelFontSize": 12, "labelLimit": 320, "symbolSize": 90},
    "header": _INK,
    "title": {"color": "currentColor", "subtitleColor": "currentColor", "anchor": "start", "fontSize": 13},
    "view": {"stroke": None},
}


def looks(count: int) -> list[dict[str, Any]]:
    """Colour, dash and shape of each of some variants: different for each below 21."""
    return [
        {
            "colour": CHART_COLOURS[index % len(CHART_COLOURS)],
            "dash": CHART_DASHES[index // len(CHART_COLOURS) % len(CHART_DASHES)],
            "shape": CHART_SHAPES[index % len(CHART_SHAPES)],
        }
        for index in range(count)
    ]


def curves_chart() -> dict[str, Any]:
    """A line a variant with the band of its interval; a cross where a run diverged.

    Rows have ``x``, ``y``, ``low``, ``high``, ``variant``, ``run`` (one line each), ``kind`` (``mean``, ``diverged`` or
    ``end``) and ``mark`` (whether the point is drawn). The page sets the titles, the scale of y, and the domains of the
    variants' looks.
    """
    variant = {"field": "variant", "type": "nominal", "legend": None}
    legend = {"title": None, "orient": "bottom", "columns": 3, "symbolOpacity": 1, "symbolStrokeWidth": 2}
    # some room beside the first and the last point, or half of each would be cut off
    x = {"field": "x", "type": "quantitative", "title": "", "scale": {"nice": False, "padding": 7}}
    y = {"field": "y", "type": "quantitative", "title": "", "scale": {"zero": False}}
    colour = {**variant, "legend": legend}
    tips = [
        {"field": "variant", "title": "initializer"},
        {"field": "x", "type": "quantitative", "format": ".4~g", "title": "at"},
        {"field": "y", "type": "quantitative", "format": ".4~g", "title": "value"},
        {"field": "low", "type": "quantitative", "format": ".4~g", "title": "interval from"},
        {"field": "high", "type": "quantitative", "format": ".4~g", "title": "to"},
    ]
    return {
        "width": "container",
        "height": 300,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"name": "rows", "values": []},
        "layer": [
            {
                "transform": [{"filter": "datum.kind == 'mean' && isValid(datum.low)"}],
                "mark": {"type": "area", "opacity": 0.15, "clip": True},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour, "detail": variant},
            },
            {
                "transform": [{"filter": "datum.kind != 'end'"}],
                "mark": {"type": "line", "strokeWidth": 2, "clip": True},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": colour,
                    "strokeDash": {**variant, "legend": legend},
                    "detail": {"field": "run", "type": "nominal"},
                    "opacity": {"condition": {"test": "datum.kind == 'mean'", "value": 1}, "value": 0.5},
                },
            },
            {
                "transform": [{"filter": "datum.mark"}],
                "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
                "encoding": {"x": x, "y": y, "color": colour, "shape": {**variant, "legend": legend}, "tooltip": tips},
            },
            {
                "transform": [{"filter": "datum.kind == 'end'"}],
                "mark": {"type": "text", "text": "✕", "fontSize": 16, "fontWeight": "bold"},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": {"value": "diverged here"}},
            },
        ],
        "config": _CONFIG,
    }


def map_chart(x_title: str, y_title: str) -> dict[str, Any]:
    """Heat maps of the validation accuracy, one a variant, each cell with its value; rows are those of `series.recipe_map`."""
    x = {"field": "x", "type": "ordinal", "sort": None, "title": x_title, "axis": {"labelAngle": 0}}
    y = {"field": "y", "type": "ordinal", "sort": "descending", "title": y_title}
    colour = {
        "field": "accuracy",
        "type": "quantitative",
        "scale": {"scheme": "cividis", "domainMin": 0},
        "legend": {"title": "validation accuracy", "format": ".0%", "orient": "bottom"},
    }
    text = {"condition": {"test": "!isValid(datum.accuracy)", "value": "✕"}, "field": "accuracy", "format": ".0%"}
    ink = {
        "condition": {"test": "isValid(datum.accuracy) && datum.accuracy < datum.highest / 2", "value": "white"},
        "value": "black",
    }
    return {
        "data": {"name": "rows", "values": []},
        "transform": [{"joinaggregate": [{"op": "max", "field": "accuracy", "as": "highest"}]}],
        "facet": {"field": "variant", "type": "nominal", "title": None, "header": {"labelFontSize": 13}},
        "columns": 3,
        "spec": {
            "width": 240,
            "height": 130,
            "encoding": {"x": x, "y": y},
            "layer": [
                {
                    "mark": {"type": "rect", "invalid": None},
                    "encoding": {"color": {**colour, "condition": {"test": "!isValid(datum.accuracy)", "value": "#ffffff"}}},
                },
                {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": text, "color": ink}},
            ],
        },
        "config": _CONFIG,
    }


def layers_chart() -> dict[str, Any]:
    """Heat maps of a run's layers against its steps, one a statistic.

    The page keeps those that were measured, and gives each its size, rows with ``step``, ``layer`` and ``value``, and the ends
    of its scale.
    """
    return {
        "concat": [_layer_map(*one) for one in TITLES.items()],
        "spacing": 10,
        "resolve": {"scale": {"color": "independent"}},
        "config": _CONFIG,
    }


def _layer_map(statistic: str, title: str) -> dict[str, Any]:
    share = statistic == "dead_units"
    spaced = {"labelOverlap": "greedy", "labelSeparation": 8}
    zero = [] if share else [{"test": "datum.value === 0", "value": ZERO}]
    return {
        "name": statistic,
        "title": title,
        "mark": {"type": "rect", "invalid": None},
        "encoding": {
            "x": {"field": "step", "type": "ordinal", "title": "step", "axis": {"labelAngle": 0, **spaced}},
            "y": {
                "field": "layer",
                "type": "ordinal",
                "sort": None,
                "title": None,
                "axis": {"labelFontSize": 10, "labelLimit": 120, "labelOverlap": True},
            },
            "color": {
                "condition": [{"test": "!isValid(datum.value)", "value": "#ffffff"}, *zero],
                "field": "value",
                "type": "quantitative",
                "scale": {"type": "linear" if share else "log", "scheme": "cividis"},
                "legend": {
                    "title": None,
                    "orient": "bottom",
                    "format": ".0%" if share else ".4~g",
                    "gradientLength": 120,
                    **spaced,
                },
            },
            "tooltip": [
                {"field": "layer"},
                {"field": "step"},
                {"field": "value", "type": "quantitative", "format": ".3~g", "title": title},
            ],
        },
    }
