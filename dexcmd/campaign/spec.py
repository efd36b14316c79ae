"""What a campaign is to do: the campaign file, as attrs classes.

Each class raises `ConfigurationError` for a value that can't be right.
"""

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import attrs
from attrs.validators import and_, optional

from dexcmd.campaign.checks import (
    MAX_AT_ONCE,
    account_name,
    campaign_name,
    deadline,
    duration,
    instance,
    instances,
    percent,
    positive_duration,
    repeated,
    strings,
    texts,
    token_variable,
    unsteady,
    whole,
)
from dexcmd.campaign.percents import percent_of
from dexcmd.campaign.versions import VersionBounds
from dexcmd.errors import ConfigurationError
from dexcmd.resources.requests import CommandArgs, Pcap, SpeedTest, WarpDiag
from dexcmd.safe_text import repr_text
from dexcmd.transfer.template import PlaceTemplate
from dexcmd.validators import SeveralMistakesError, above_zero, identifier, one_of
from dexcmd.wire.paths import valid_account_id

__all__ = [
    "BUCKETS",
    "INTO",
    "AbortRule",
    "AccountSpec",
    "ArtifactsSpec",
    "CampaignSpec",
    "FailureClass",
    "LostAnswers",
    "Pace",
    "Retries",
    "Share",
    "Targeting",
    "Waves",
]

FailureClass = Literal["device", "timeout", "rejected", "unknown", "download"]
"""Why a target has no artifact.

- `device`: the service reports its command as FAILED;
- `timeout`: its command did not end within `Pace.timeout`;
- `rejected`: the service refused to create its command;
- `unknown`: the response to its POST was lost, and the list does not show its command;
- `download`: there is, or should be, an artifact, and it could not be fetched.
"""

LostAnswers = Literal["reconcile", "give_up"]
"""What to do about a command whose POST got no response.

Both look for it in the list, and adopt it if found.  If the list does not show it after the settling time, `reconcile`
sends it again, once; `give_up` does not, and it is `unknown`.
"""

BUCKETS = ("s3", "gs", "az")
"""The URL schemes of buckets."""

INTO = "captures"
"""The default folder for artifacts."""

ZERO = timedelta(0)


def _account_id(_: object, __: object, value: str) -> None:
    valid_account_id(value)


def _accounts(_: object, __: object, value: "tuple[AccountSpec, ...]") -> None:
    if not value:
        raise ConfigurationError("accounts must not be empty")
    if mistakes := repeated([(account.name, account.account_id) for account in value]):
        raise SeveralMistakesError(mistakes)


def _sizes(_: object, __: object, value: "tuple[Share, ...]") -> None:
    if mistakes := unsteady(value):
        raise SeveralMistakesError(mistakes)


def _text(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    identifier(attribute.name, value)


def _version(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    VersionBounds.parse(identifier(attribute.name, value))


def _seed(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{attribute.name} must be a whole number, not {value!r}")
    if not -(2**63) <= value < 2**63:
        raise ConfigurationError(f"{attribute.name} must fit into 64 bits, not {repr_text(value)}")


def _template(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    PlaceTemplate.parse(identifier(attribute.name, value))


def _into(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    scheme, separator, rest = identifier(attribute.name, value).partition("://")
    if separator and scheme not in BUCKETS:
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise ConfigurationError(f"{attribute.name} must be a folder or the URL of a bucket ({known}), not {value!r}")
    if separator and not rest.partition("/")[0]:
        raise ConfigurationError(f"{attribute.name} does not name a bucket: {value!r}")


@attrs.frozen(kw_only=True)
class Share:
    """A number of targets, or a percentage of them: `5` or `"10%"` in a file.  Exactly one of the two is set."""

    count: int | None = attrs.field(default=None, validator=optional(whole(1)))
    percent: float | None = attrs.field(default=None, validator=optional(and_(percent, above_zero)))

    def __attrs_post_init__(self) -> None:
        """Raise `ConfigurationError` unless exactly one of the two is set."""
        if (self.count is None) == (self.percent is None):
            raise ConfigurationError("a share is either a count or a percentage")

    def of(self, total: int) -> int:
        """Return how many of `total` that is, at most all of them; a percentage is rounded up."""
        if self.count is not None:
            return min(self.count, total)
        return min(total, math.ceil(percent_of(self.percent or 0.0, total)))


@attrs.frozen(kw_only=True)
class AccountSpec:
    """One account, and where its token comes from."""

    account_id: str = attrs.field(validator=_account_id)
    """32 hex digits."""

    name: str = attrs.field(
        default=attrs.Factory(lambda self: self.account_id, takes_self=True), validator=account_name
    )
    """What reports and folders call it; the account id by default."""

    token_env: str = attrs.field(default="CLOUDFLARE_API_TOKEN", validator=token_variable)
    """The environment variable that holds its API token."""


@attrs.frozen(kw_only=True)
class Targeting:
    """Which devices to capture: those that match everything given, or every device of the accounts if nothing is.

    `emails`, `device_ids` and `csv` together name devices: a device has to be named by any one of them.
    """

    search: tuple[str, ...] = attrs.field(default=(), converter=strings, validator=texts)
    """Texts that the service looks for in names and emails; a device has to match one of them."""

    emails: tuple[str, ...] = attrs.field(default=(), converter=strings, validator=texts)
    device_ids: tuple[str, ...] = attrs.field(default=(), converter=strings, validator=texts)
    """A device named here, in `emails` or in `csv` that the device list does not show is skipped as `not_found`."""

    csv: str | None = attrs.field(default=None, validator=optional(_text))
    """A CSV file with a column `device_id` or `user_email`, optionally `registration_id` and `account` (its name)."""

    platforms: tuple[str, ...] = attrs.field(default=(), converter=strings, validator=texts)
    version: str | None = attrs.field(default=None, validator=optional(_version))
    """Bounds on the WARP client's version, such as `">=2024.6, <2025.1"`."""

    exclude: tuple[str, ...] = attrs.field(default=(), converter=strings, validator=texts)
    """Device ids, names or emails to leave out."""

    sample: Share | None = attrs.field(default=None, validator=optional(instance(Share)))
    """How many of the eligible devices to capture, per account, drawn by `seed`; None for all."""

    seed: int = attrs.field(default=0, validator=_seed)


@attrs.frozen(kw_only=True)
class Waves:
    """The steps in which an account's targets are captured."""

    sizes: tuple[Share, ...] = attrs.field(default=(), validator=and_(instances(Share), _sizes))
    """How many targets in total by the end of each wave; the remainder is one more wave."""

    min_succeeded_percent: float = attrs.field(default=0.0, validator=percent)
    """The percentage of a wave that has to succeed for the next to begin; if it does not, the account is aborted."""

    soak: timedelta = attrs.field(default=ZERO, validator=duration)
    """How long to wait between the end of a wave and the next."""


@attrs.frozen(kw_only=True)
class Pace:
    """How much to do at once, per account."""

    creates: int = attrs.field(default=4, validator=whole(1, MAX_AT_ONCE))
    """Concurrent POSTs, of up to ten commands each; at most 1000, as for `downloads`."""

    downloads: int = attrs.field(default=8, validator=whole(1, MAX_AT_ONCE))
    in_flight: int = attrs.field(default=1000, validator=whole(1))
    """The most commands that are created and not yet done with; at that number no more are created."""

    timeout: timedelta = attrs.field(default=timedelta(minutes=30), validator=positive_duration)
    """How long a command may take from its creation to its end."""


@attrs.frozen(kw_only=True)
class AbortRule:
    """When to abort an account: once `failed_percent` of its targets have failed.

    Only targets that are saved or failed are counted, and only once there are at least `of_at_least` of them.
    """

    failed_percent: float = attrs.field(validator=and_(percent, above_zero))
    of_at_least: int = attrs.field(default=10, validator=whole(1))
    failure: FailureClass | None = attrs.field(default=None, validator=optional(one_of(*get_args(FailureClass))))
    """Only failures of this class count; None for all."""


@attrs.frozen(kw_only=True)
class Retries:
    """How often a target is retried, by failure class.

    All but `download` create another command, which costs quota and a user's privacy.
    """

    device: int = attrs.field(default=0, validator=whole(0))
    timeout: int = attrs.field(default=0, validator=whole(0))
    rejected: int = attrs.field(default=0, validator=whole(0))
    unknown: int = attrs.field(default=0, validator=whole(0))
    download: int = attrs.field(default=3, validator=whole(0))
    wait: timedelta = attrs.field(default=timedelta(minutes=1), validator=duration)
    """How long to wait before the first retry; doubled for each that follows."""


@attrs.frozen(kw_only=True)
class ArtifactsSpec:
    """Where artifacts go."""

    into: str = attrs.field(default=INTO, validator=_into)
    """A folder, relative to the campaign file, or the URL of a bucket such as `s3://bucket/prefix`."""

    name: str = attrs.field(default="{account}/{created:%Y-%m-%d}/{user_email}-{command_id}.zip", validator=_template)
    """Folders and a file name below `into`: a template of `dexcmd.transfer.template`."""


def _in_utc(value: datetime | timedelta | None) -> datetime | timedelta | None:
    """Return a time in UTC: Python does not call all times equal that are the same moment in different zones."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        # A time at the end of the calendar is left to the validator.
        with suppress(OverflowError):
            return value.astimezone(UTC)
    return value


@attrs.frozen(kw_only=True)
class CampaignSpec:
    """A campaign.  Raises `ConfigurationError` for a value that can't be right."""

    name: str = attrs.field(validator=campaign_name)
    """What the journal calls it: letters, digits, `.`, `_` and `-`, at most 64."""

    command: CommandArgs = attrs.field(validator=instance(Pcap, WarpDiag, SpeedTest))
    accounts: tuple[AccountSpec, ...] = attrs.field(validator=and_(instances(AccountSpec), _accounts))
    targets: Targeting = attrs.field(default=Targeting(), validator=instance(Targeting))
    waves: Waves = attrs.field(default=Waves(), validator=instance(Waves))
    pace: Pace = attrs.field(default=Pace(), validator=instance(Pace))
    abort: tuple[AbortRule, ...] = attrs.field(default=(), validator=instances(AbortRule))
    retries: Retries = attrs.field(default=Retries(), validator=instance(Retries))
    leave_quota: int = attrs.field(default=0, validator=whole(0))
    """How much of each day's quota, per account, to leave to others, in commands."""

    deadline: datetime | timedelta | None = attrs.field(default=None, converter=_in_utc, validator=optional(deadline))
    """When to stop creating: a time, or how long after the first run.  Commands running then are still collected."""

    artifacts: ArtifactsSpec = attrs.field(default=ArtifactsSpec(), validator=instance(ArtifactsSpec))
    lost_answers: LostAnswers = attrs.field(default="reconcile", validator=one_of(*get_args(LostAnswers)))
    audit_after: timedelta = attrs.field(default=timedelta(minutes=15), validator=duration)
    """How long to wait after the last lost POST before searching the list for what came of it after all."""
