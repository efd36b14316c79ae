"""Checks of arguments, and plain answers to `with` and `for` on what is async."""

import math
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration
from dexcmd.errors import ConfigurationError
from dexcmd.validators import above_zero, count, finite_number, identifier, one_of


@attrs.frozen
class Checked:
    seconds: float = attrs.field(default=1.0, validator=above_zero)
    tries: int = attrs.field(default=1, validator=count)
    mode: str = attrs.field(default="stop", validator=one_of("stop", "wait"))


NO_NUMBERS = [True, False, None, "1", b"1", 1j, Decimal(1), [], math.nan, math.inf, -math.inf]


class TestFiniteNumber:
    @pytest.mark.parametrize("value", [0, -1, 1, 10**30, 0.0, -0.5, 1e308, 5e-324])
    def test_numbers(self, value: float):
        assert finite_number("x", value) is value

    @pytest.mark.parametrize("value", NO_NUMBERS)
    def test_others(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^x must be a finite number, not "):
            finite_number("x", value)


class TestAboveZero:
    @pytest.mark.parametrize("value", [1, 0.1, 5e-324, 1e308])
    def test_above(self, value: float):
        assert Checked(value).seconds is value

    @pytest.mark.parametrize("value", [0, 0.0, -0.0, -1, -5e-324])
    def test_not_above(self, value: float):
        with pytest.raises(ConfigurationError, match=r"^seconds must be above 0, not "):
            Checked(value)

    @pytest.mark.parametrize("value", NO_NUMBERS)
    def test_no_number(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^seconds must be a finite number, not "):
            Checked(value)

    @settings(deadline=None, max_examples=100)
    @given(st.floats())
    def test_any_float(self, value: float):
        try:
            Checked(value)
        except ConfigurationError:
            accepted = False
        else:
            accepted = True
        assert accepted is (0 < value < math.inf)


class TestCount:
    @pytest.mark.parametrize("value", [1, 2, 10**400])
    def test_whole_numbers_from_1(self, value: int):
        assert Checked(tries=value).tries == value

    @pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, *NO_NUMBERS])
    def test_others(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^tries must be a whole number of at least 1, not "):
            Checked(tries=value)


class TestOneOf:
    @pytest.mark.parametrize("value", ["stop", "wait"])
    def test_known_words(self, value: str):
        assert Checked(mode=value).mode == value

    @pytest.mark.parametrize("value", ["", "STOP", "stop ", None, 1, True, ["stop"]])
    def test_others(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^mode must be one of stop, wait, not "):
            Checked(mode=value)


class TestIdentifier:
    @pytest.mark.parametrize("value", ["a", " a ", "8f0a-11", "é"])
    def test_good_ones(self, value: str):
        assert identifier("device_id", value) is value

    @pytest.mark.parametrize("value", ["", " ", "\n\t", None, 5, b"a", ["a"], True])
    def test_others(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^device_id must be a non-blank string, not "):
            identifier("device_id", value)


class Stream(AsyncOnlyContext, AsyncOnlyIteration):
    """Stands for whatever is async."""


class TestAsyncOnly:
    def test_with(self):
        with pytest.raises(TypeError, match=r"^Stream is asynchronous: write `async with`, not `with`$"):
            Stream().__enter__()
        with pytest.raises(TypeError, match="write `async with`"), Stream():
            pytest.fail("entered")

    def test_for(self):
        with pytest.raises(TypeError, match=r"^Stream is asynchronous: write `async for`, not `for`$"):
            for _ in Stream():
                pytest.fail("iterated")

    @pytest.mark.parametrize("use", [list, tuple, sorted, lambda stream: [*stream]])
    def test_whatever_iterates(self, use: object):
        with pytest.raises(TypeError, match="write `async for`"):
            use(Stream())

    def test_leaving_does_nothing(self):
        assert Stream().__exit__(None, None, None) is None
