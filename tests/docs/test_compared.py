"""The page that compares local servers has the rows and the columns of the benchmark that measures them."""

from __future__ import annotations

import re

from benchmarks.compare import QUICK, Column, Effort, cell, rows
from benchmarks.servers import KINDS
from tests.docs.pages import PAGES

PAGE = PAGES["docs/explanation/local-compared.md"]


def test_the_table_is_that_of_the_benchmark() -> None:
    table = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]

    assert [each.strip() for each in table[0][1:]] == [each.name for each in KINDS]
    assert [row[0].strip() for row in table[1:]] == list(rows(Effort().deep).values())
    assert all(each.strip() for row in table[1:] for each in row)


def test_a_figure_is_the_median_with_its_ratio_to_the_first() -> None:
    first, other = Column(KINDS[0], {"start": [30.0, 10.0, 20.0]}), Column(KINDS[2], {"start": [50.0]})

    assert cell(first, first, "start", QUICK.deep) == "20.0"
    assert cell(other, first, "start", QUICK.deep) == "50.0 (2.50)"


def test_what_was_not_measured_says_why() -> None:
    column = Column(KINDS[0], words={"kept": "nothing, in memory"})

    assert cell(column, column, "kept", QUICK.deep) == "nothing, in memory"
    assert cell(column, column, "wake-up", QUICK.deep) == "not measured"


def test_the_page_says_what_measured_it_and_when() -> None:
    assert "`python -m benchmarks.compare`" in PAGE
    assert re.search(r"\d+ \w+ 20\d\d", PAGE)
