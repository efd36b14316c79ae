"""The documentation of an export says what the code does: all columns, in their order."""

import re
from pathlib import Path

from dexcmd.campaign.export.parquet import ROW_GROUP
from dexcmd.campaign.export.schema import COLUMNS
from dexcmd.campaign.export.write import FILES

PAGE = (Path(__file__).parents[2] / "docs" / "campaigns-export.md").read_text(encoding="utf-8")


def test_the_columns():
    section = PAGE.partition("\n## Columns\n")[2].partition("\n## ")[0]
    table = [
        tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in section.splitlines() if "|" in line
    ]
    header, _, *rows = table
    assert header == ("column", "type", "null", "meaning")
    assert rows == [
        (f"`{column.name}`", column.kind, "yes" if column.nullable else "no", column.meaning) for column in COLUMNS
    ]


def test_the_formats():
    section = PAGE.partition("\n## Formats\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(FILES)
    assert f"Row groups hold {ROW_GROUP:,} rows" in section


def test_every_meaning_is_a_line_that_fits_into_a_table_and_a_comment():
    for column in COLUMNS:
        assert column.meaning.endswith(".")
        assert column.meaning.isprintable()
        assert "|" not in column.meaning
