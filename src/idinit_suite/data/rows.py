"""Tables from files: CSV, TSV, JSON, JSON lines, parquet."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idinit.errors import UsageError, did_you_mean

from ..words import pluralize
from .readers import Damaged, parquet_table


@dataclass(frozen=True)
class Rows:
    """A table, and where its rows stand in its file.

    Attributes:
        source: The file, or whatever else an error should name.
        columns: Name -> cells, all of one length.
        numbers: Number of each row as its file counts them.
        unit: What the file counts: ``line`` or ``row``.
    """

    source: str
    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]
    unit: str = "row"

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, index: int) -> str:
        """A row for an error: its file and its number there."""
        return f"{self.source}, {self.unit} {self.numbers[index]}"

    def column(self, name: str, option: str) -> str:
        """A column that was asked for.

        Raises:
            UsageError: If there is none of this name; the message lists those there are.
        """
        if name not in self.columns:
            raise UsageError(f"{self.source} has no column '{name}': {option}: {did_you_mean(name, self.columns)}")
        return name

    def only_column(self, option: str, fits: Callable[[str], bool], usual: Sequence[str]) -> str:
        """The one column that can be meant where none was named.

        Args:
            option: The option that would name it, e.g. ``data.label``.
            fits: Whether a column can be meant by its content.
            usual: Names by which one is recognized where several fit, or none.

        Raises:
            UsageError: If none or several can be meant; the message lists all columns.
        """
        fitting = [name for name in self.columns if fits(name)]
        known = [name for name in fitting or self.columns if name.lower() in usual]
        if len(known) == 1 or len(fitting) == 1:
            return (known if len(known) == 1 else fitting)[0]
        raise UsageError(f"{self.source}: set {option}=COLUMN; its columns are: {', '.join(self.columns)}")


def read_rows(path: Path) -> Rows:
    """Reads a table; its format is known by the file's ending.

    Raises:
        UsageError: Naming the file, and the line where one is at fault.
    """
    if path.suffix.lower() not in _READERS:
        raise UsageError(f"{path}: a table ends in one of {', '.join(_READERS)}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give its path from the working directory, or a full one")
    rows = _READERS[path.suffix.lower()](path)
    if not len(rows):
        raise UsageError(f"{path} is empty: fill it or copy it again")
    return rows


def _delimited(delimiter: str) -> Callable[[Path], Rows]:
    def read(path: Path) -> Rows:
        limit = csv.field_size_limit(sys.maxsize)  # a text may be longer than 131,072 letters
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = csv.reader(file, delimiter=delimiter, strict=True)
                header = [name.strip() for name in next(lines, [])]
                if len(header) == 1:
                    raise UsageError(
                        f"{path}: the first line names one column, '{header[0]}': put {delimiter!r} between the cells, as the "
                        f"ending {path.suffix} says, and name the columns of texts and of labels"
                    )
                if len(set(header)) != len(header):
                    raise UsageError(f"{path}: two columns have one name: {', '.join(header)}")
                numbers, cells = [], []
                first = lines.line_num + 1
                for row in lines:
                    if row and len(row) != len(header):
                        raise UsageError(
                            f"{path}, line {first}: {pluralize(len(row), 'cell')}, and the first line names {len(header)} "
                            f"columns ({', '.join(header)}): write a cell for each, and quotes around text with {delimiter!r}"
                        )
                    if row:
                        numbers.append(first)
                        cells.append(row)
                    first = lines.line_num + 1
        except UnicodeDecodeError as error:
            raise _not_utf8(path, path.read_bytes()[: error.start].count(b"\n") + 1, error) from None
        except csv.Error as error:
            raise Damaged(path, f"line {lines.line_num}: {error}") from None
        finally:
            csv.field_size_limit(limit)
        return Rows(str(path), dict(zip(header, zip(*cells, strict=True), strict=False)), numbers, "line")

    return read


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, blank ones left out; a byte order mark is not part of the first.

    Raises:
        UsageError: Naming the line that is not UTF-8.
    """
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(path, number, error) from None
        if text.strip():
            yield number, text


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a file of JSON lines with their line numbers; see `text_lines`.

    Raises:
        UsageError: Naming the line that is not UTF-8 or not JSON.
    """
    for number, line in text_lines(path):
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise Damaged(path, f"line {number} is not JSON: {error}") from None


def _not_utf8(path: Path, line: int, error: UnicodeDecodeError) -> UsageError:
    """The error of a text file in another encoding."""
    return UsageError(f"{path}, line {line}: not UTF-8 (byte {error.start + 1}): convert the file, e.g. with iconv -t UTF-8")


def _json_lines(path: Path) -> Rows:
    return _objects(path, list(json_lines(path)), "line")


def _json(path: Path) -> Rows:
    """A list of objects; JSON lines under this ending are read too."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return _json_lines(path)
    if not isinstance(content, list):
        raise UsageError(f"{path} is not a list of objects: write one, or an object a line")
    return _objects(path, list(enumerate(content, start=1)), "row")


def _objects(path: Path, objects: Sequence[tuple[int, Any]], unit: str) -> Rows:
    for number, item in objects:
        if not isinstance(item, dict):
            raise UsageError(f"{path}, {unit} {number}: not an object with the columns as keys")
    names = dict.fromkeys(name for _, item in objects for name in item)
    columns = {name: [item.get(name) for _, item in objects] for name in names}
    return Rows(str(path), columns, [number for number, _ in objects], unit)


def _parquet(path: Path) -> Rows:
    table = parquet_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Rows(str(path), columns, range(1, table.num_rows + 1))


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
