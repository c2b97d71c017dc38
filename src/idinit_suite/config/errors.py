"""Mistakes in overrides, which Hydra answers with tracebacks, as one line with the nearest valid names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from idinit.errors import UsageError, did_you_mean

from ..errors import first_line
from .groups import CONFIG_DIR, GROUPS, list_groups
from .hydra_compose import compose_with_hydra
from .schema import BUDGETS


def check_choices(overrides: Sequence[str]) -> None:
    """Finds an override that chooses nothing, or has no key, which Hydra answers with a traceback.

    Raises:
        UsageError: If there is one, such as ``model=null`` or ``=3``.
    """
    groups = list_groups()
    for text in overrides:
        group, equals, _ = text.lstrip("+~").partition("=")
        if equals and not group.strip():
            raise UsageError(f"cannot read '{text}': write key=value")
        if group not in groups:
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            continue  # reported with the others
        choice = override.value() if equals else None
        if override.is_delete() or not (override.is_sweep_override() or (isinstance(choice, str) and choice)):
            files = (path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
            raise UsageError(f"{text} chooses nothing: {did_you_mean(choice, {*GROUPS.get(group, ()), *files})}")


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Hydra's reading of overrides.

    Raises:
        UsageError: If one cannot be read.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise usage_error(error, overrides) from None


def usage_error(error: Exception, overrides: Sequence[str]) -> UsageError:
    """Hydra's complaint about an override or a file as one line with the nearest valid names."""
    if isinstance(error, yaml.YAMLError):
        return UsageError(f"a file of the configuration is not YAML: {' '.join(str(error).split())}")
    if not str(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    message = str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        return UsageError(f"unknown {group} '{name}': {did_you_mean(name, error.options)}")
    if isinstance(error, OverrideParseException):
        return UsageError(f"cannot read '{error.override}': write key=value, and key=\"'value'\" if it has special characters")
    if found := re.match(r"Could not override '(.+?)'", message):
        parent, _, leaf = found[1].rpartition(".")
        return UsageError(f"unknown key '{found[1]}': {did_you_mean(leaf, _keys_of(parent, overrides))}")
    if found := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", message):
        return UsageError(f"'{found[1]}' has several values, and one run takes one: choose, or give scripts/train.py -m")
    return UsageError(first_line(error))


def _keys_of(node: str, overrides: Sequence[str]) -> set[str]:
    """The keys below a node, with the groups' entries that some overrides choose."""
    choice = re.compile(rf"(experiment|{'|'.join(GROUPS)})=[\w.-]+")
    config = compose_with_hydra([text for text in overrides if choice.fullmatch(text)])
    found = OmegaConf.select(config, node) if node else config
    return {*map(str, found), *(list_groups() if not node else ())} if isinstance(found, DictConfig) else set()


def missing_budget(config: DictConfig) -> UsageError | None:
    """Why an experiment has no values for a budget, if that is what is wrong."""
    experiment, budget = OmegaConf.select(config, "experiment.name"), str(config.budget)
    given = config.get("budgets")
    budgets = {str(n): v if isinstance(v, Mapping) else {} for n, v in given.items()} if isinstance(given, DictConfig) else {}
    keys = sorted({key for values in budgets.values() for key in values})
    if not budgets or (missing := [key for key in keys if key not in budgets.get(budget, {})]) == []:
        return None
    if budget in budgets or budget in BUDGETS:
        return UsageError(
            f"experiment '{experiment}' has no value of {', '.join(missing)} for budget '{budget}': add it in its file under "
            f"budgets.{budget}, or choose another budget. Valid: {', '.join(sorted(budgets.keys() - {budget}))}"
        )
    return UsageError(f"unknown budget '{budget}': {did_you_mean(budget, budgets)}")
