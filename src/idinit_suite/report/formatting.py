"""Number formatting."""

from __future__ import annotations

import math

from ..statistics.estimates import Estimate

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def percent(value: Estimate) -> str:
    """A fraction as ``55.1 ± 1.2`` in percent; ``55.1 (n = 2)`` where it has no interval, ``diverged`` without runs."""
    return plain(value, 1, scale=100)


def plain(value: Estimate, digits: int, scale: float = 1.0) -> str:
    """A mean as ``2.345 ± 0.012``; ``2.345 (n = 2)`` where it has no interval, ``diverged`` without runs.

    Args:
        value: The mean with its interval.
        digits: After the point.
        scale: What it is multiplied by.
    """
    if value.n == 0:
        return "diverged"
    mean = f"{scale * value.mean:.{digits}f}"
    return f"{mean} (n = {value.n})" if math.isnan(value.half_width) else f"{mean} ± {scale * value.half_width:.{digits}f}"


def amount(number: float) -> str:
    """A large number in three digits with a decimal prefix, as ``9.33 M``; a dash for NaN."""
    if math.isnan(number):
        return "–"
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
