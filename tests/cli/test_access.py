"""Which account, with which token, at which address."""

import re
from pathlib import Path

import pytest

from dexcmd import ConfigurationError
from dexcmd.cli import main
from dexcmd.cli.access import access
from dexcmd.cli.common import Common
from tests.cli.conftest import Service

TOKEN = "t0ken"
ACCOUNT, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"  {TOKEN}\n")
    path.chmod(0o600)
    return path


def test_all_of_the_environment():
    found = access(
        Common(),
        {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": TOKEN, "CLOUDFLARE_BASE_URL": "http://localhost"},
    )
    assert (found.account_id, found.token, found.base_url) == (ACCOUNT, TOKEN, "http://localhost")
    assert TOKEN not in repr(found)


def test_options_go_first(file: Path, capsys: pytest.CaptureFixture[str]):
    found = access(
        Common(account=OTHER, base_url="http://[::1]", token_file=file),
        {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": "other", "CLOUDFLARE_BASE_URL": "http://localhost"},
    )
    assert (found.account_id, found.token, found.base_url) == (OTHER, TOKEN, "http://[::1]")
    assert capsys.readouterr().err == ""


def test_a_file_that_the_environment_names(file: Path):
    environment = {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN_FILE": str(file)}
    assert access(Common(), environment).token == TOKEN
    assert access(Common(), environment).base_url is None
    assert access(Common(), {**environment, "CLOUDFLARE_API_TOKEN": "other"}).token == "other"


def test_a_file_that_everybody_may_read(file: Path, capsys: pytest.CaptureFixture[str]):
    file.chmod(0o604)
    assert access(Common(account=ACCOUNT, token_file=file), {}).token == TOKEN
    shown = capsys.readouterr().err
    assert shown == f"warning: everybody on this machine can read the token file: chmod 600 {file}\n"


@pytest.mark.parametrize("content", ["", " \n", "x" * 5000])
def test_a_file_without_a_token(file: Path, content: str):
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"there is no token in the token file .*token$"):
        access(Common(account=ACCOUNT, token_file=file), {})


@pytest.mark.parametrize("content", ["two words", "one\ntwo", "caf\u00e9", "nul\0"])
def test_a_file_whose_token_can_be_none(file: Path, content: str):
    file.write_text(content)
    with pytest.raises(
        ConfigurationError,
        match=r"there is no token in the token file .*token: tokens are ASCII, without blanks or line breaks",
    ) as caught:
        access(Common(account=ACCOUNT, token_file=file), {})
    assert content not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no account: set CLOUDFLARE_ACCOUNT_ID or pass --account"):
        access(Common(), {"CLOUDFLARE_ACCOUNT_ID": ""})
    with pytest.raises(ConfigurationError, match=r"no API token: set CLOUDFLARE_API_TOKEN, .* --token-file"):
        access(Common(account=ACCOUNT), {})
    with pytest.raises(ConfigurationError, match=r"can't read the token file .*: No such file"):
        access(Common(account=ACCOUNT, token_file=tmp_path / "none"), {})


@pytest.mark.parametrize(
    ("common", "environment", "told"),
    [
        (Common(account="x"), {}, "account_id must be 32 hex digits: check CLOUDFLARE_ACCOUNT_ID or --account"),
        (Common(), {"CLOUDFLARE_ACCOUNT_ID": "x"}, "account_id must be 32 hex digits: check CLOUDFLARE_ACCOUNT_ID or"),
        (
            Common(account=ACCOUNT, base_url="x"),
            {},
            "base_url must be an absolute http(s) URL: check CLOUDFLARE_BASE_URL or --base-url",
        ),
        (
            Common(account=ACCOUNT),
            {"CLOUDFLARE_BASE_URL": "http://h"},
            "unencrypted: check CLOUDFLARE_BASE_URL or --base-url",
        ),
    ],
    ids=["account", "account-of-the-environment", "base-url", "base-url-of-the-environment"],
)
def test_what_is_wrong_says_where_it_was_set(common: Common, environment: dict[str, str], told: str):
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        access(common, {"CLOUDFLARE_API_TOKEN": TOKEN, **environment})


def test_globals_before_and_after_the_command(
    service: Service, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sandbox = service.sandbox
    for name in sandbox.environment:
        monkeypatch.delenv(name)
    file.write_text(sandbox.token)
    assert (
        main(
            [
                "--account",
                sandbox.account_id,
                "--token-file",
                str(file),
                "quota",
                "--base-url",
                sandbox.base_url,
                "--json",
            ]
        )
        == 0
    )
    assert '"schema":"quota/1"' in capsys.readouterr().out


def test_a_token_that_is_refused(service: Service, file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["quota", "--token-file", str(file)]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--token-file" in shown.err
    assert TOKEN not in shown.err
    assert shown.err.count("\n") == 1
