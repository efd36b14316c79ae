"""The token shows nowhere by accident."""

import copy
import logging
import pickle

import pytest

from dexcmd.errors import ConfigurationError
from dexcmd.secret import Secret

TOKEN = "v1.0-0123456789abcdef_ABCDEF"


@pytest.fixture
def secret() -> Secret:
    return Secret(TOKEN)


def test_reveal(secret: Secret):
    assert secret.reveal() == TOKEN


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{!r}".format,
        "{!s}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r}",
        lambda secret: "%s" % secret,  # noqa: UP031
        lambda secret: "%r" % (secret,),  # noqa: UP031
        lambda secret: repr([secret, {"token": secret}]),
    ],
)
def test_every_text_hides_it(secret: Secret, show: object):
    text = show(secret)
    assert "Secret(...)" in text
    assert TOKEN not in text


def test_the_log_hides_it(secret: Secret, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("the token is %s, %r", secret, secret)
    assert caplog.messages == ["the token is Secret(...), Secret(...)"]


def test_it_has_no_attributes_to_dump(secret: Secret):
    with pytest.raises(TypeError):
        vars(secret)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(AttributeError):
        secret.extra = 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_refuses_to_be_pickled(secret: Secret, protocol: int):
    with pytest.raises(TypeError, match="can't be pickled or copied") as caught:
        pickle.dumps(secret, protocol)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_it_refuses_to_be_copied(secret: Secret, make: object):
    with pytest.raises(TypeError, match="can't be pickled or copied"):
        make(secret)


def test_what_holds_it_can_not_be_pickled_either(secret: Secret):
    with pytest.raises(TypeError):
        pickle.dumps({"headers": [secret]})


def test_digest_tells_tokens_apart_and_holds_none(secret: Secret):
    assert secret.digest() == Secret(TOKEN).digest()
    assert secret.digest() != Secret(TOKEN + "x").digest()
    assert len(secret.digest()) == 64
    assert TOKEN not in secret.digest()


@pytest.mark.parametrize(
    ("body", "redacted"),
    [
        (b"", b""),
        (b"nothing", b"nothing"),
        (TOKEN.encode(), b"[api token]"),
        (f"Bearer {TOKEN}, {TOKEN}!".encode(), b"Bearer [api token], [api token]!"),
        (b"\xff" + TOKEN.encode() + b"\x00", b"\xff[api token]\x00"),
        (TOKEN[:-1].encode(), TOKEN[:-1].encode()),
    ],
)
def test_redact(secret: Secret, body: bytes, redacted: bytes):
    assert secret.redact(body) == redacted


@pytest.mark.parametrize(
    "value",
    ["", " ", TOKEN + "\n", "\r\n" + TOKEN, " " + TOKEN, f"{TOKEN}\x00", "a b", "tökén", "\u2028", b"bytes"],
)
def test_what_can_be_no_token_is_refused_without_being_shown(value: str):
    with pytest.raises(ConfigurationError, match="api_token must be ASCII") as caught:
        Secret(value)
    assert TOKEN not in str(caught.value)
