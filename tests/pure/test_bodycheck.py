"""What is checked of a body on its way."""

import hashlib
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.transfer.checks import BodyCheck
from dexcmd.transfer.options import Verify


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        # A time of its own: today's would make other bytes, and so another name of the test, in each process.
        file.writestr(zipfile.ZipInfo("a"), b"abc" * 100, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=50)), st.sampled_from(["zip", "size", "none"]))
def test_bytes_are_counted_and_hashed_in_any_pieces(pieces: list[bytes], verify: Verify) -> None:
    check = BodyCheck(verify)
    for piece in pieces:
        check.feed(piece)
    whole = b"".join(pieces)
    assert check.size == len(whole)
    assert check.sha256 == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize(
    ("verify", "data", "verdict"),
    [
        ("zip", archive(), "whole"),
        ("zip", archive()[:-1], "damaged"),
        ("zip", b"#!" + archive(), "unknown"),
        ("zip", b"", "damaged"),
        ("size", archive()[:-1], "whole"),
        ("none", b"", "whole"),
    ],
)
def test_only_a_zip_is_looked_into(verify: Verify, data: bytes, verdict: str) -> None:
    check = BodyCheck(verify)
    check.feed(data)
    assert check.verdict() == verdict
