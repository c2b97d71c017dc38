"""What the project's installed distribution, and what it needs in turn, say of themselves."""

from __future__ import annotations

from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def declared(*extras: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for: without extras the dependencies, else what these extras add, extras of extras included."""
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, distribution("idinit").requires or []):
        marker = requirement.marker
        wanted = not extras if marker is None else any(marker.evaluate({"extra": extra}) for extra in extras)
        if wanted and canonicalize_name(requirement.name) == "idinit":
            found |= declared(*requirement.extras)
        elif wanted:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def needed(*extras: str) -> set[str]:
    """Names of all that the project needs with these extras on this Python, and of what these need in turn."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [("idinit", frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        for requirement in map(Requirement, distribution(name).requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen} - {"idinit"}
