"""Resolves account, token and base URL from the options, the environment, and a token file."""

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from dexcmd.cli.common import Common
from dexcmd.cli.stderr import warn
from dexcmd.cli.texts import TOKEN_VARIABLE
from dexcmd.errors import ConfigurationError
from dexcmd.secret import Secret
from dexcmd.wire.paths import BaseURL, valid_account_id

__all__ = ["Access", "access", "base_url_of", "read_token", "token_of"]

MAX_TOKEN_BYTES = 4096
"""A longer file contains something else."""


@attrs.frozen(kw_only=True)
class Access:
    """What a client needs to access the API."""

    account_id: str
    token: str = attrs.field(repr=False)
    base_url: str | None


def access(common: Common, environment: Mapping[str, str]) -> Access:
    """Return the account, token and base URL to use.

    Options take precedence over the environment, and `CLOUDFLARE_API_TOKEN` over `CLOUDFLARE_API_TOKEN_FILE`.  Raises
    `ConfigurationError`, which says what to set.
    """
    account_id = common.account or environment.get("CLOUDFLARE_ACCOUNT_ID")
    if not account_id:
        raise ConfigurationError("no account: set CLOUDFLARE_ACCOUNT_ID or pass --account")
    _check(valid_account_id, account_id, "CLOUDFLARE_ACCOUNT_ID or --account")
    base_url = base_url_of(common, environment)
    return Access(
        account_id=account_id, token=token_of(TOKEN_VARIABLE, common.token_file, environment), base_url=base_url
    )


def base_url_of(common: Common, environment: Mapping[str, str]) -> str | None:
    """Return the API's base URL, None for the default.  Raises `ConfigurationError`, which says what to check."""
    base_url = common.base_url or environment.get("CLOUDFLARE_BASE_URL") or None
    if base_url is not None:
        _check(BaseURL.parse, base_url, "CLOUDFLARE_BASE_URL or --base-url")
    return base_url


def _check(check: Callable[[str], object], value: str, source: str) -> None:
    """Raise `ConfigurationError` naming the source of an invalid value, which the client's own error can't name."""
    try:
        check(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}: check {source}") from None


def token_of(variable: str, file: Path | None, environment: Mapping[str, str], whose: str = "") -> str:
    """Return the token from a file, or else from a variable, or from the file named by `<variable>_FILE`.

    Raises `ConfigurationError`, which says what to set; `whose` is added to its message.
    """
    if file is not None:
        return read_token(file)
    if token := environment.get(variable):
        return token
    if named := environment.get(f"{variable}_FILE"):
        return read_token(Path(named))
    option = (
        ", or name a file that holds it with --token-file" if variable == TOKEN_VARIABLE else f" or {variable}_FILE"
    )
    raise ConfigurationError(f"no API token{whose}: set {variable}{option}")


def read_token(file: Path) -> str:
    """Return the token in a file, stripped of whitespace; warn on stderr if the file is world-readable.

    Raises `ConfigurationError`, which doesn't reveal the file's content.
    """
    try:
        with file.open("rb") as opened:
            mode = file.stat().st_mode
            content = opened.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"can't read the token file {file}: {error.strerror}") from error
    if mode & stat.S_IROTH and stat.S_ISREG(mode):
        warn(f"everybody on this machine can read the token file: chmod 600 {file}")
    token = content.decode(errors="replace").strip()
    if not token or len(content) > MAX_TOKEN_BYTES:
        raise ConfigurationError(f"there is no token in the token file {file}")
    try:
        Secret(token)
    except ConfigurationError:
        raise ConfigurationError(
            f"there is no token in the token file {file}: tokens are ASCII, without blanks or line breaks"
        ) from None
    return token
