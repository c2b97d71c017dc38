"""Pages of the site that are made and not written: one for each method, from the registry, and those of ``results/``."""

from __future__ import annotations

import re
from inspect import formatannotation
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from griffe import Docstring
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from idinit.initializers import INITIALIZERS, Method
from idinit.registry import Entry

ROOT = Path(__file__).parents[2]
RESULTS = ("*.md", "*/*.md", "*/*.png", "*/*.svg", "*/*.csv", "*/*.json", "*.html")
NEEDS = {
    "attention": "attention",
    "branches": "residual branches",
    "end_norm": "a normalization at the end of each branch",
    "inputs": "example inputs",
    "no_norm": "no normalization",
    "sine": "sines as activation functions",
    "sum_norm": "a normalization after each residual sum",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the methods in the navigation."""
    pages = [{name: f"methods/{name}.md"} for name in INITIALIZERS]
    for item in config.nav or []:
        if "Methods" in item:
            item["Methods"] = ["methods/index.md", *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, and those of the results."""
    files.append(File.generated(config, "methods/index.md", content=_index()))
    for name in INITIALIZERS:
        files.append(File.generated(config, f"methods/{name}.md", content=_method(INITIALIZERS[name])))
    for pattern in RESULTS:
        for path in sorted((ROOT / "results").glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links between folders of the repository links between pages of the site."""
    markdown = re.sub(r"\]\(\.\./results/([\w.-]+)/?(#[\w-]+)?\)", r"](results/\1/README.md\2)", markdown)
    markdown = markdown.replace("](../results/", "](results/")
    if page.file.src_uri.startswith("results/"):
        markdown = re.sub(r"\]\(((?:\.\./)?[\w-]+)/(#[\w-]+)?\)", r"](\1/README.md\2)", markdown)
    return markdown


def _index() -> str:
    rows = [
        f"| [`{name}`]({name}.md) | {_sentence(INITIALIZERS[name])} | {_needs(INITIALIZERS[name])} |" for name in INITIALIZERS
    ]
    head = ["# Methods", "", "| name | what it does | needs |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, "", "[Which one should I use?](../choosing.md)", ""])


def _method(entry: Entry[Any, Method]) -> str:
    sections = {section.kind.value: section.value for section in Docstring(entry.build.__doc__ or "").parse("google")}
    summary, _, text = str(sections["text"]).partition("\n\n")
    title, _, does = summary.partition(": ")
    options = entry.options.model_fields
    meanings = {item.name: " ".join(item.description.split()) for item in sections.get("parameters", ())}
    lines = [f"# {title}", "", f"{does[0].upper()}{does[1:]}", "", "```python", _call(entry), "```", "", text, ""]
    lines += [f"**Publication:** {_linked(entry.info.paper)}  ", f"**Needs:** {_needs(entry)}", ""]
    if options:
        lines += ["## Options", "", "| option | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, field in options.items():
            kind = _type(field.annotation).replace("|", "\\|")
            lines.append(f"| `{name}` | `{kind}` | `{field.default!r}` | {meanings.get(name, '')} |")
        lines.append("")
    if refusals := sections.get("raises"):
        lines += [
            "## What it refuses",
            "",
            *(f"`{item.annotation}`: {' '.join(item.description.split())}" for item in refusals),
            "",
        ]
    if entry.info.pitfalls:
        lines += ["## Mistakes in public implementations", "", *(f"- {pitfall}" for pitfall in entry.info.pitfalls), ""]
    return "\n".join(lines)


def _call(entry: Entry[Any, Method]) -> str:
    return f'idinit.initialize_(model, "{entry.name}", example_inputs)'


def _sentence(entry: Entry[Any, Method]) -> str:
    return entry.summary.partition(": ")[2].removesuffix(".").replace("|", "\\|")


def _needs(entry: Entry[Any, Method]) -> str:
    return ", ".join(NEEDS[need] for need in entry.info.needs) or "nothing"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(map(repr, get_args(annotation)))
    return formatannotation(annotation)


def _linked(paper: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)
