"""What may be talked to, and how ids and names go into a path."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from dexcmd.errors import ConfigurationError, UnsafeFilenameError
from dexcmd.wire.paths import (
    DEFAULT_BASE_URL,
    BaseURL,
    artifact_name,
    is_loopback,
    segment,
    valid_account_id,
)

# Half surrogates are no text that could be sent; there is a test of its own for them.
text_to_send = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::2", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("notlocalhost", False),
        ("127.1", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback


class TestBaseURL:
    @pytest.mark.parametrize(
        ("text", "kept", "origin"),
        [
            (DEFAULT_BASE_URL, DEFAULT_BASE_URL, "https://api.cloudflare.com"),
            ("https://api.example.com/v4/", "https://api.example.com/v4", "https://api.example.com"),
            ("https://api.example.com///", "https://api.example.com", "https://api.example.com"),
            ("https://api.example.com:8443/a/b", "https://api.example.com:8443/a/b", None),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost/v4", "http://localhost/v4", "http://localhost"),
            ("http://LOCALHOST:9", "http://LOCALHOST:9", "http://localhost:9"),
            ("http://[::1]:8080/v4/", "http://[::1]:8080/v4", "http://[::1]:8080"),
            ("https://[2001:db8::1]/", "https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("https://10.0.0.1", "https://10.0.0.1", "https://10.0.0.1"),
        ],
    )
    def test_good_ones(self, text: str, kept: str, origin: str | None):
        base = BaseURL.parse(text)
        assert base.text == kept
        expected = URL("https://api.example.com:8443" if origin is None else origin)
        # Hosts don't mind their case.
        assert URL(str(base.origin).lower()) == expected

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "must be an absolute"),
            ("api.cloudflare.com", "must be an absolute"),
            ("//api.cloudflare.com/client/v4", "must be an absolute"),
            ("/client/v4", "must be an absolute"),
            ("ftp://api.cloudflare.com", "must be an absolute"),
            ("file:///etc/passwd", "must be an absolute"),
            ("https://", "must be an absolute"),
            ("https:///client/v4", "must be an absolute"),
            ("https://:443/", "must be an absolute"),
            ("https://[::1", "is not a URL"),
            ("https://api.cloudflare.com:99999", "is not a URL"),
            ("https://api.cloudflare.com:port", "is not a URL"),
            ("https://user:pass@api.cloudflare.com", "must not contain credentials"),
            ("https://user@api.cloudflare.com", "must not contain credentials"),
            ("https://@api.cloudflare.com", "must not contain credentials"),
            ("https://:@api.cloudflare.com", "must not contain credentials"),
            ("https://api.cloudflare.com\\@example.com", "must not contain credentials"),
            ("https://api.cloudflare.com/?a=b", "no query and no fragment"),
            ("https://api.cloudflare.com/#top", "no query and no fragment"),
            ("https://api.example.com#@127.0.0.1", "no query and no fragment"),
            ("http://api.cloudflare.com/client/v4", "unencrypted"),
            ("HTTP://api.cloudflare.com/client/v4", "unencrypted"),
            ("http://192.168.0.1", "unencrypted"),
            ("http://0.0.0.0:80", "unencrypted"),
            ("http://127.0.0.1.example.com", "unencrypted"),
            ("http://localhost.example.com", "unencrypted"),
            ("http://[2001:db8::1]", "unencrypted"),
            ("http://127.1", "unencrypted"),
        ],
    )
    def test_refused_ones(self, text: str, reason: str):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            BaseURL.parse(text)
        assert "base_url" in str(caught.value)
        assert "user:pass" not in str(caught.value)

    @pytest.mark.parametrize("text", ["https://user:pass/word@example.com", "https://user:pass@ex\u2100mple.com"])
    def test_no_credentials_are_told_where_they_make_it_no_url(self, text: str):
        # Seen: "Port could not be cast to integer value as 'pass'".
        with pytest.raises(ConfigurationError) as caught:
            BaseURL.parse(text)
        assert str(caught.value) == "base_url is not a URL: its host or port can't be read"

    def test_a_url_of_it(self):
        base = BaseURL.parse("https://api.example.com/v4/")
        assert str(base.url("/accounts/a%2Fb")) == "https://api.example.com/v4/accounts/a%2Fb"
        assert str(base.url("/x", "user_email=a%2Bb%40c&n=%25")) == (
            "https://api.example.com/v4/x?user_email=a%2Bb%40c&n=%25"
        )

    @settings(deadline=None, max_examples=150)
    @given(text_to_send.filter(lambda text: text not in ("", ".", "..")))
    def test_no_segment_leads_to_another_origin_or_path(self, text: str):
        base = BaseURL.parse("https://api.example.com/v4")
        url = base.url(f"/dex/commands/{segment('command_id', text)}/downloads")
        assert url.origin() == base.origin
        assert url.raw_query_string == ""
        assert url.raw_fragment == ""
        assert url.raw_path.split("/")[:4] == ["", "v4", "dex", "commands"]
        assert url.raw_path.endswith("/downloads")
        assert url.raw_path.count("/") == 5


class TestAccountId:
    @pytest.mark.parametrize("text", ["0" * 32, "0123456789abcdefABCDEF0123456789"])
    def test_good_ones(self, text: str):
        assert valid_account_id(text) == text

    @pytest.mark.parametrize(
        "text",
        ["", "0" * 31, "0" * 33, "g" * 32, "0" * 31 + "\n", "0" * 32 + "\n", "../" + "0" * 29, "\u0660" * 32],
    )
    def test_refused_ones(self, text: str):
        with pytest.raises(ConfigurationError, match="account_id must be 32 hex digits"):
            valid_account_id(text)


class TestSegment:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("8a2f-00", "8a2f-00"),
            ("a/b", "a%2Fb"),
            ("../x", "..%2Fx"),
            ("a b", "a%20b"),
            ("a?b#c&d=e", "a%3Fb%23c%26d%3De"),
            ("100%", "100%25"),
            ("%2e%2e", "%252e%252e"),
            ("é", "%C3%A9"),
            ("...", "..."),
            ("a\r\nb", "a%0D%0Ab"),
            ("\\", "%5C"),
            ("~_-.", "~_-."),
        ],
    )
    def test_encoding(self, value: str, expected: str):
        assert segment("filename", value) == expected

    @pytest.mark.parametrize("value", ["", ".", "..", None, 5, b"x"])
    def test_what_can_be_none(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^command_id can't be "):
            segment("command_id", value)

    @settings(deadline=None, max_examples=200)
    @given(text_to_send.filter(lambda text: text not in ("", ".", "..")))
    def test_what_goes_in_can_be_read_back(self, value: str):
        found = segment("x", value)
        assert unquote(found, errors="strict") == value
        assert found.isascii()
        assert not set(found) & set("/?#\\ &=+:@\r\n")
        assert found.replace("%25", "").count("%") == quote(value, safe="%").count("%") - value.count("%")


class TestArtifactName:
    @pytest.mark.parametrize(
        ("filename", "name"),
        [
            ("8a2f.zip", "8a2f.zip"),
            ("https://files.example.com/a/b/8a2f.zip", "8a2f.zip"),
            ("https://files.example.com/8a2f.zip?sig=a/b&x=..#frag", "8a2f.zip"),
            ("//files.example.com/x/8a2f.zip", "8a2f.zip"),
            ("/dex/commands/1/downloads/8a2f.zip", "8a2f.zip"),
            ("/8a2f.zip", "8a2f.zip"),
            ("https://files.example.com/a%20b.zip", "a b.zip"),
            ("https://files.example.com/100%25.zip", "100%.zip"),
            ("https://user:pw@files.example.com:8443/x.zip", "x.zip"),
            ("a b?c#d.zip", "a b?c#d.zip"),
            ("a%2Fb.zip", "a%2Fb.zip"),
            ("%2e%2e", "%2e%2e"),
            ("...", "..."),
            ("naïve.zip", "naïve.zip"),
        ],
    )
    def test_names(self, filename: str, name: str):
        assert artifact_name(filename) == name

    @pytest.mark.parametrize(
        "filename",
        [
            "",
            ".",
            "..",
            "a/b.zip",
            "../b.zip",
            "a\\b.zip",
            "..\\b.zip",
            "C:\\Windows\\x.zip",
            "/",
            "//host",
            "https://files.example.com",
            "https://files.example.com/",
            "https://files.example.com/a/",
            "https://files.example.com/..",
            "https://files.example.com/%2e%2e",
            "https://files.example.com/..%2Fx.zip",
            "https://files.example.com/a%2Fb.zip",
            "https://files.example.com/a%5Cb.zip",
            "https://files.example.com/?x.zip",
            "/..",
        ],
    )
    def test_nothing_usable(self, filename: str):
        with pytest.raises(UnsafeFilenameError, match="the service sent an unusable artifact name:"):
            artifact_name(filename)

    def test_a_long_name_is_cut_in_the_error(self):
        with pytest.raises(UnsafeFilenameError) as caught:
            artifact_name("a/" * 5000)
        assert len(str(caught.value)) < 300

    @settings(deadline=None, max_examples=200)
    @given(text_to_send.filter(lambda text: not {"[", "]"} & set(text)), st.sampled_from(["", "/", "/a/"]))
    def test_a_name_is_one_segment_or_refused(self, filename: str, prefix: str):
        try:
            name = artifact_name(prefix + filename)
        except UnsafeFilenameError:
            return
        except ValueError:
            # `urlsplit` may refuse a host; what then happens has a test of its own.
            assert "//" in prefix + filename
            return
        assert name not in ("", ".", "..")
        assert not {"/", "\\"} & set(name)

    @settings(deadline=None, max_examples=100)
    @given(text_to_send.filter(lambda text: text not in ("", ".", "..") and not {"/", "\\"} & set(text)))
    def test_a_url_and_its_bare_name_are_the_same_artifact(self, name: str):
        assert artifact_name(f"https://files.example.com/a/{quote(name, safe='')}?x=y") == name
