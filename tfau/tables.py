"""Tables of text, as a terminal, Markdown, LaTeX and CSV want them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

import numpy as np

UNKNOWN = "-"
_LABEL = 30  # widest label in a terminal, characters


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Args:
        title: Its title.
        rows: Header first.
        notes: Sentences below it.
        rules: Rows above which a line is drawn, besides that below the header.
        words: Number of columns, from the left, that are words; the others are numbers.
    """

    title: str
    rows: list[list[str]]
    notes: tuple[str, ...]
    rules: tuple[int, ...]
    words: int = 1

    def show(self) -> None:
        """Prints it, in as many parts as the terminal is narrow."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        for part in self._parts(console.width - 2):
            grid = Table(title=Text(self.title, "bold"), title_justify="left", box=box.HORIZONTALS)
            for column in part:
                if column < self.words:
                    grid.add_column(self.rows[0][column], max_width=_LABEL)
                else:
                    grid.add_column(self.rows[0][column], justify="right", no_wrap=True)
            for n, row in enumerate(self.rows[1:], start=2):
                cells = (Text(row[column]) for column in part)
                grid.add_row(*cells, end_section=n in self.rules)
            console.print(grid)
        console.print(Text("\n".join(self.notes), "dim"))
        console.print()

    def _parts(self, width: int) -> list[list[int]]:
        """Divides the columns so that each part, with the words before it, fits a width."""
        columns = [max(map(len, column)) + 3 for column in zip(*self.rows, strict=True)]
        labels = list(range(self.words))
        room = width - sum(min(columns[label], _LABEL + 3) for label in labels)
        parts: list[list[int]] = [[]]
        for column in range(self.words, len(columns)):
            used = sum(columns[other] for other in parts[-1])
            if parts[-1] and used + columns[column] > room:
                parts.append([])
            parts[-1].append(column)
        return [labels + part for part in parts]

    def markdown(self) -> str:
        """Returns it as Markdown."""
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows
        ]
        lines.insert(1, "|" + "---|" * self.words + "--:|" * (len(self.rows[0]) - self.words))
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"### {self.title}\n\n" + "\n".join(lines) + (f"\n\n{notes}" if notes else "")

    def latex(self) -> str:
        """Returns it as LaTeX, for booktabs."""
        lines = []
        for n, row in enumerate(self.rows):
            lines += [r"\midrule"] if n == 1 or n in self.rules else []
            lines.append(" & ".join(map(_tex, row)) + r" \\")
        sides = "l" * self.words + "r" * (len(self.rows[0]) - self.words)
        caption = _tex(" ".join((f"{self.title}.", *self.notes)))
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{{sides}}}",
                r"\toprule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )


def _tex(text: str) -> str:
    """Escapes what LaTeX would take for a command, and sets minus signs and dashes."""
    if text == UNKNOWN:
        return "--"
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": "$<$", ">": "$>$"} | {letter: rf"\{letter}" for letter in "&%$#_{}"}
    text = "".join(special.get(letter, letter) for letter in text)
    return re.sub(r"(?<![\w$])-(?=[\d.])", "$-$", text)


def csv_text(records: list[dict[str, str]]) -> str:
    """Writes records that may lack columns of one another."""
    columns = dict.fromkeys(name for record in records for name in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def exact(value: float | None) -> str:
    """Writes a number for machines; nothing if it is not known."""
    return "" if value is None or np.isnan(value) else f"{value:.6g}"


def rounded(value: float | None, decimals: int = 2) -> str:
    """Writes a number for people, without the minus of a minus zero."""
    unknown = value is None or np.isnan(value)
    return UNKNOWN if value is None or unknown else f"{round(value, decimals) + 0.0:.{decimals}f}"
