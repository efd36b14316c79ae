"""Versions of the client, and bounds of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd.campaign.versions import VersionBounds, parse_version
from dexcmd.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2024.6.473.0", (2024, 6, 473)),
        ("2024.6", (2024, 6)),
        (" v2024.6 ", (2024, 6)),
        ("2024.6-beta.1", (2024, 6)),
        ("2024.6 (abc)", (2024, 6)),
        ("0", ()),
        ("", None),
        ("beta", None),
        ("2024.", None),
        ("2024..6", None),
        (".6", None),
        ("1" * 40, None),
    ],
)
def test_versions(text: str, version: tuple[int, ...] | None):
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("bounds", "version", "allowed"),
    [
        (">=2024.6", "2024.6.0.0", True),
        (">=2024.6", "2024.5.999", False),
        (">2024.6", "2024.6.0", False),
        (">2024.6", "2024.6.0.1", True),
        ("<=2024.6", "2024.6", True),
        ("<=2024.6", "2024.6.473.0", False),
        ("<2024.7", "2024.6.473.0", True),
        ("==2024.6", "2024.6.0", True),
        ("==2024.6", "2024.6.1", False),
        ("!=2024.6", "2024.6.0", False),
        ("!=2024.6", "2024.6.1", True),
        (">=2024.6, <2025.1", "2024.12.1", True),
        (">=2024.6, <2025.1", "2025.1", False),
        (" >= 2024.6 ,<2025.1 ", "2024.6", True),
        (">=2024.9", "2024.10", True),
        (">=2024.6", None, False),
        (">=2024.6", "", False),
        ("!=2024.6", "unknown", False),
    ],
)
def test_bounds(bounds: str, version: str | None, allowed: bool):
    assert VersionBounds.parse(bounds).allow(version) is allowed


@pytest.mark.parametrize("text", ["", "2024.6", ">=", ">=2024.6,", "~=2024.6", "==2024.6.*", ">=2024.6 <2025", "=2024"])
def test_no_bounds(text: str):
    with pytest.raises(ConfigurationError, match=r" is not a bound such as >=2024\.6 or <2025\.1$"):
        VersionBounds.parse(text)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=4), st.lists(st.integers(0, 3000), min_size=1, max_size=4))
def test_of_two_versions_one_is_less_or_they_are_the_same(one: list[int], other: list[int]):
    bound, version = ".".join(map(str, one)), ".".join(map(str, other))
    kept = [sign for sign in ("<", "==", ">") if VersionBounds.parse(f"{sign}{bound}").allow(version)]
    assert len(kept) == 1
    assert VersionBounds.parse(f"<={bound}").allow(version) is (kept != [">"])
    assert VersionBounds.parse(f">={bound}").allow(version) is (kept != ["<"])
    assert VersionBounds.parse(f"!={bound}").allow(version) is (kept != ["=="])
