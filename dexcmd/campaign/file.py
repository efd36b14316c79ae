"""Campaign files: TOML in, a `CampaignSpec` out, or every mistake at once."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from dexcmd.campaign.layout import account_names, spec_from
from dexcmd.campaign.mistakes import at, mistakes_of
from dexcmd.campaign.namescsv import read_csv
from dexcmd.campaign.spec import BUCKETS, INTO, CampaignSpec
from dexcmd.errors import CampaignFileError, ConfigurationError
from dexcmd.wire.paths import valid_account_id

__all__ = ["ACCOUNT_VARIABLE", "parse_campaign", "read_campaign_file"]

ACCOUNT_VARIABLE = "CLOUDFLARE_ACCOUNT_ID"

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

Table = dict[str, object]


def read_campaign_file(path: "str | os.PathLike[str]", environ: Mapping[str, str] | None = None) -> CampaignSpec:
    """Return the campaign that a file describes.

    `environ` stands in for the environment, which supplies the account id if the file has none.  Raises
    `CampaignFileError` listing every mistake in the file.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        # ValueError: not a possible path.
        reason = getattr(error, "strerror", None) or error
        raise CampaignFileError(str(path), (f"can't be read: {reason}",)) from None
    return parse_campaign(data, source=str(path), folder=file.absolute().parent, environ=environ)


def parse_campaign(
    data: bytes | str,
    *,
    source: str = "campaign",
    folder: "str | os.PathLike[str]" = ".",
    environ: Mapping[str, str] | None = None,
) -> CampaignSpec:
    """Return the campaign that a TOML text describes.

    `source` is what errors call the text, and relative paths are relative to `folder`.  Otherwise as
    `read_campaign_file`.
    """
    document = _toml(data, source)
    seen_from = Path(folder).absolute()
    misplaced = [*_place(document, "targets", "csv", seen_from)]
    if isinstance(artifacts := document.setdefault("artifacts", {}), dict):
        # Made absolute like any other, so that it is the same folder from wherever a run is resumed.
        cast("Table", artifacts).setdefault("into", INTO)
    misplaced += _place(document, "artifacts", "into", seen_from)
    mistakes = list(_take_account(document, os.environ if environ is None else environ))
    # An account that is missing from the environment might have any name.
    accounts = None if mistakes else account_names(document)
    spec, found = spec_from(document)
    mistakes += found
    mistakes += misplaced
    mistakes += _beside(document, accounts)
    if spec is None or mistakes:
        raise CampaignFileError(source, tuple(dict.fromkeys(mistakes)))
    return spec


def _toml(data: bytes | str, source: str) -> Table:
    try:
        # Some editors begin UTF-8 with a byte order mark.
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if isinstance(data, bytes) else 0
        raise CampaignFileError(source, (f"line {line}: not valid UTF-8",)) from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Usually TOMLDecodeError; other errors for numbers with too many digits, and for too many brackets.
        raise CampaignFileError(source, (_syntax(str(error), text),)) from None


def _syntax(message: str, text: str) -> str:
    found = _PLACE.fullmatch(message)
    if found is None:
        return message
    lines = text.split("\n")
    line, column = found[2] or len(lines), found[3] or len(lines[-1]) + 1
    return f"line {line}, column {column}: {found[1]}"


def _place(document: Table, section: str, key: str, folder: Path) -> Iterator[str]:
    """Make a path absolute; leave a URL alone.  Yield the mistake if there is one."""
    value = _value(document, section, key)
    if not value.strip() or "://" in value:
        return
    try:
        place = Path(value).expanduser() if value.startswith("~/") else folder / value
    except RuntimeError:
        yield at(f"{section}.{key}", f"this user has no home folder for {value!r}")
    else:
        cast("Table", document[section])[key] = str(place)


def _value(document: Table, section: str, key: str) -> str:
    """Return a text from a table, or an empty one if there is none."""
    table = document.get(section)
    value = cast("Table", table).get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def _take_account(document: Table, environ: Mapping[str, str]) -> Iterator[str]:
    """Add the account of the environment to a document that names none; yield the mistake if there is none either."""
    if "accounts" in document:
        return
    account_id = environ.get(ACCOUNT_VARIABLE) or ""
    try:
        valid_account_id(account_id)
    except ConfigurationError:
        yield f"accounts: none given, and {ACCOUNT_VARIABLE} {'is not an account id' if account_id else 'is not set'}"
        # A stand-in, to find the other mistakes as well.
        account_id = "0" * 32
    document["accounts"] = [{"account_id": account_id}]


def _beside(document: Table, accounts: Sequence[str] | None) -> Iterator[str]:
    """Yield the mistakes that only show outside the file; they are reported with the others."""
    path = _value(document, "targets", "csv")
    if path.strip():
        try:
            read_csv(Path(path), accounts)
        except ConfigurationError as error:
            yield from mistakes_of(error, {}, "targets.csv")
    scheme, separator, _ = _value(document, "artifacts", "into").partition("://")
    if separator and scheme in BUCKETS and find_spec("obstore") is None:
        yield at("artifacts.into", "a bucket requires an optional dependency: pip install 'dexcmd[object-store]'")
