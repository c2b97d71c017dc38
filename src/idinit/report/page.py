"""``results/<experiment>/README.md``: an experiment's page, made from its archive and its config's head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..experiments.info import TAGS, ExperimentInfo
from .archive import Archive
from .arms import Arm, Scale, arms, counted, scales
from .claims import Verdict, judge
from .tables import NOTES, grid, markdown, tuning


def page(info: ExperimentInfo, archive: Archive, figures: Mapping[Scale, str]) -> str:
    """The page as Markdown.

    Args:
        info: What the config says of the experiment.
        archive: Its runs.
        figures: For each scale the name of its figure's files, without ending.

    Raises:
        UsageError: If the experiment names a claim for which there is no verdict function.
    """
    found = {scale: arms(archive, scale) for scale in scales(archive)}
    verdicts = {scale: [judge(claim.id, scale, of_scale) for claim in info.claims] for scale, of_scale in found.items()}
    parts = [
        f"# {info.title}",
        f"Made from `runs.csv`, `curves.csv` and `environments.json` in this folder and from the head of "
        f"`configs/experiment/{info.name}.yaml`; edits are overwritten.",
        f"```\n{info.command}\n```",
        f"Cost: {info.cost}",
        *_claims(info),
        *(part for scale in found for part in _results(archive, scale, found[scale], verdicts[scale], figures[scale])),
        *_numbered("Deviations from the paper", info.deviations),
        *_environments(archive),
        *_not_run(archive, found, verdicts),
    ]
    return "\n\n".join(parts) + "\n"


def tuned(archive: Archive, scale: Scale) -> bool:
    """Whether learning rates were tried for a scale before its main runs."""
    runs = archive.runs
    return bool(((runs["phase"] == "tune") & (runs["budget"] == scale.budget) & (runs["data"] == scale.data)).any())


def _claims(info: ExperimentInfo) -> list[str]:
    if not info.claims:
        return []
    rows = [[claim.id, claim.text, claim.setting, claim.paper, f"`{claim.tag}`"] for claim in info.claims]
    tags = dict.fromkeys(claim.tag.split(" ")[0] for claim in info.claims)
    legend = "; ".join(f"`{tag}`: {TAGS[tag]}" for tag in tags)
    head = ["claim", "what the paper says", "setting", "the paper's value", "known from"]
    return ["## Claims", grid(head, rows, left=len(head)), f"{legend}."]


def _results(
    archive: Archive, scale: Scale, of_scale: Sequence[Arm], verdicts: Sequence[Verdict], figure: str
) -> list[str]:
    tried = tuning(archive, scale, of_scale)
    return [
        f"## Results: {scale}",
        markdown(of_scale, tuned(archive, scale)),
        NOTES,
        *(["\n".join(f"- **{v.claim}: {v.outcome}.** {v.evidence}" for v in verdicts)] if verdicts else []),
        f"![Train loss and validation accuracy of each arm over the epochs; the table above has the final values]"
        f"({figure}.png)",
        f"[The figure as SVG]({figure}.svg)",
        *(["### Learning rates tried", tried] if tried else []),
    ]


def _numbered(heading: str, lines: Sequence[str]) -> list[str]:
    return [f"## {heading}", "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=1))] if lines else []


def _environments(archive: Archive) -> list[str]:
    runs = archive.runs["environment"].value_counts().sort_index()
    lines = [
        f"- `{key}` ({counted(int(count), 'run')}): {', '.join(_facts(archive.environments[str(key)]))}"
        for key, count in runs.items()
    ]
    return ["## Environment", "\n".join(lines)] if lines else []


def _facts(content: Mapping[str, Any]) -> list[str]:
    facts = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            facts += _facts(value)
        elif value is not None:
            facts.append(f"{key.replace('_', ' ')} {value}")
    return facts


def _not_run(
    archive: Archive, found: Mapping[Scale, Sequence[Arm]], verdicts: Mapping[Scale, Sequence[Verdict]]
) -> list[str]:
    lines = [] if any(scale.budget == "paper" for scale in found) else ["The paper budget: no runs."]
    for scale, of_scale in found.items():
        most = max(len(arm.runs) for arm in of_scale)
        fewer = [f"{arm.label} {len(arm.runs)}" for arm in of_scale if len(arm.runs) < most]
        if fewer:
            lines.append(f"{scale}: fewer than {counted(most, 'run')} of {', '.join(fewer)}.")
        lines += [f"{v.claim} at {v.evidence}" for v in verdicts[scale] if v.outcome == "not run at this scale"]
    main = set(archive.runs.loc[archive.runs["phase"] == "main", "arm"])
    lines += [f"{arm}: tuning runs only." for arm in sorted(set(archive.runs["arm"]) - main)]
    return ["## Not run", "\n".join(f"- {line}" for line in lines)] if lines else []
