"""Which requests go into which POST."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.batches import culprits, plan_batches, split_culprits
from dexcmd.errors import BadRequestError, ErrorDetail


class TestPlanBatches:
    @pytest.mark.parametrize(
        ("count", "sizes"),
        [
            (0, []),
            (1, [1]),
            (9, [9]),
            (10, [10]),
            (11, [10, 1]),
            (20, [10, 10]),
            (25, [10, 10, 5]),
            (800, [10] * 80),
        ],
    )
    def test_sizes(self, count: int, sizes: list[int]):
        assert [len(batch) for batch in plan_batches(range(count))] == sizes

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.integers(), max_size=60))
    def test_nothing_is_lost_doubled_or_moved(self, indices: list[int]):
        batches = plan_batches(indices)
        assert [index for batch in batches for index in batch] == indices
        assert all(1 <= len(batch) <= 10 for batch in batches)
        assert all(len(batch) == 10 for batch in batches[:-1])


def test_halving_finds_culprits_and_pointers_name_them() -> None:
    each = [object() for _ in range(5)]
    plain = BadRequestError(400, (ErrorDetail("no"),))
    pointed = BadRequestError(
        400, (ErrorDetail("no", pointer="/commands/1/device_id"), ErrorDetail("no", pointer="/x"))
    )
    requests: Any = each
    assert split_culprits(requests, plain) == ([], [tuple(each[:2]), tuple(each[2:])])
    assert split_culprits(requests, pointed) == ([each[1]], [(each[0], *each[2:])])
    assert split_culprits(requests[:1], plain) == ([each[0]], [])
    beyond = BadRequestError(400, (ErrorDetail("no", pointer="/commands/5"),))
    assert split_culprits(requests, beyond) == ([], [tuple(each[:2]), tuple(each[2:])])


@pytest.mark.parametrize("pointer", [f"/commands/{'9' * 5000}", "/commands/-1", "/commands/x", "/commands/5"])
def test_a_pointer_to_no_command_of_the_post_blames_none(pointer: str) -> None:
    assert culprits([ErrorDetail("no", pointer=pointer)], 5) == {}
