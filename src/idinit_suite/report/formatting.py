"""Number formatting."""

from __future__ import annotations

import math

from ..statistics.estimates import Estimate, is_possible

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def percent(value: Estimate) -> str:
    """A fraction as ``55.1 ± 1.2`` in percent; ``55.1 (n = 2)`` where it has no interval, ``diverged`` without runs."""
    return f"{100 * value.mean:.1f}{percent_spread(value) or _count(value)}" if value.n else "diverged"


def percent_spread(value: Estimate) -> str:
    """The spread of a fraction in percent; see `plain`."""
    return _spread(value, 1, scale=100, most=1.0)


def plain(value: Estimate, digits: int) -> str:
    """A loss as ``2.345 ± 0.012``; ``2.345 (n = 2)`` where it has no interval, ``diverged`` without runs.

    An interval of few runs that lie far apart may reach beyond what is possible. It says nothing then, and the lowest and
    the highest value stand in its place: ``2.345 (0.12 to 6.5)``.

    Args:
        value: The mean with its interval.
        digits: After the point.
    """
    spread = _spread(value, digits, scale=1.0, most=math.inf)
    return f"{value.mean:.{digits}f}{spread or _count(value)}" if value.n else "diverged"


def _spread(value: Estimate, digits: int, scale: float, most: float) -> str:
    """The interval of a mean of values between 0 and ``most``, or their range; empty for too few runs."""
    half = value.half_width
    if math.isnan(half):
        return ""
    if is_possible(value.mean - half, value.mean + half, 0.0, most):
        return f" ± {scale * half:.{digits}f}"
    return f" ({scale * value.lowest:.{digits}f} to {scale * value.highest:.{digits}f})"


def _count(value: Estimate) -> str:
    return f" (n = {value.n})"


def difference_interval(low: float, high: float) -> str:
    """The interval of a difference of fractions, as `` (-1.2 to +3.4)`` points; empty where it reaches beyond the possible."""
    return f" ({100 * low:+.1f} to {100 * high:+.1f})" if is_possible(low, high, -1.0, 1.0) else ""


def amount(number: float) -> str:
    """A large number in three digits with a decimal prefix, as ``9.33 M``; a dash for NaN."""
    if math.isnan(number):
        return "–"
    number = float(f"{number:.3g}")  # before the prefix is chosen: 999.6 is 1 k
    power = min(len(_PREFIXES) - 1, max(0, int(math.log10(number) // 3))) if number else 0
    return f"{number / 1000**power:.3g} {_PREFIXES[power]}".strip()


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``7 min`` or ``1 h 05 min``; a dash for NaN."""
    if math.isnan(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
