"""What a campaign is to do: the campaign file, as attrs classes."""

from datetime import datetime, timedelta
from typing import Literal

import attrs

from dexcmd.resources.requests import CommandArgs

__all__ = [
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
- `unknown`: the answer to its POST was lost, and the list shows nothing of it;
- `download`: there is an artifact, or should be, and it could not be had.
"""

LostAnswers = Literal["reconcile", "give_up"]
"""What becomes of a command whose POST got no answer.

Both look for it in the list, and take it over where it is found.  What the list does not show after the settling time,
`reconcile` sends again, once, and `give_up` does not: it is `unknown`.
"""


@attrs.frozen(kw_only=True)
class Share:
    """So many targets, or so many percent of them: `5` or `"10%"` in a file.  One of both is set."""

    count: int | None = None
    percent: float | None = None

    def of(self, total: int) -> int:
        """Return how many of `total` that is, at most all; a percentage is rounded up."""
        if self.count is not None:
            return min(self.count, total)
        return min(total, -int(-total * (self.percent or 0.0) // 100))


@attrs.frozen(kw_only=True)
class AccountSpec:
    """One account, with where its token comes from."""

    account_id: str
    """32 hex digits."""

    name: str
    """What reports and folders call it; the account id where the file says nothing."""

    token_env: str = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the name of a variable
    """The environment variable that holds its API token."""


@attrs.frozen(kw_only=True)
class Targeting:
    """Which devices: those that match all that is given.  Nothing given means every device of the accounts."""

    search: tuple[str, ...] = ()
    """Looked for in names and emails by the service; a device has to match one of them."""

    emails: tuple[str, ...] = ()
    device_ids: tuple[str, ...] = ()
    """With these, or a CSV, devices are named: one that the device list does not show is skipped as `not_found`."""

    csv: str | None = None
    """A CSV file with a column `device_id` or `user_email`, and perhaps `registration_id` and `account` (its name)."""

    platforms: tuple[str, ...] = ()
    version: str | None = None
    """Bounds of the WARP client's version, such as `">=2024.6, <2025.1"`."""

    exclude: tuple[str, ...] = ()
    """Device ids, names or emails that are left out."""

    sample: Share | None = None
    """How many of the eligible ones, per account, drawn by `seed`; None for all."""

    seed: int = 0


@attrs.frozen(kw_only=True)
class Waves:
    """In which steps an account's targets are captured."""

    sizes: tuple[Share, ...] = ()
    """How many targets in all up to the end of each wave; what is left is one more."""

    min_succeeded_percent: float = 0.0
    """The next wave begins only if so many percent of this one succeeded; if not, the account is aborted."""

    soak: timedelta = timedelta(0)
    """How long it waits between the end of a wave and the next."""


@attrs.frozen(kw_only=True)
class Pace:
    """How much at a time, per account."""

    creates: int = 4
    """POSTs, of up to ten commands each."""

    downloads: int = 8
    in_flight: int = 1000
    """Commands that are created and not done with; no more are created meanwhile."""

    timeout: timedelta = timedelta(minutes=30)
    """How long a command may take from its creation to its end."""


@attrs.frozen(kw_only=True)
class AbortRule:
    """When an account is given up: `failed_percent` of at least `of_at_least` targets that are decided have failed."""

    failed_percent: float
    of_at_least: int = 10
    failure: FailureClass | None = None
    """Only failures of this class count; None for all."""


@attrs.frozen(kw_only=True)
class Retries:
    """How often a target is tried again, by the class of its failure.

    All but `download` mean another command, which costs quota and a user's privacy.
    """

    device: int = 0
    timeout: int = 0
    rejected: int = 0
    unknown: int = 0
    download: int = 3
    wait: timedelta = timedelta(minutes=1)
    """Before the first try again; doubled for each that follows."""


@attrs.frozen(kw_only=True)
class ArtifactsSpec:
    """Where artifacts go."""

    into: str = "captures"
    """A folder, seen from the campaign file, or the URL of a bucket such as `s3://bucket/prefix`."""

    name: str = "{account}/{created:%Y-%m-%d}/{user_email}-{command_id}.zip"
    """Folders and a name below it, a template of `dexcmd.transfer.template`."""


@attrs.frozen(kw_only=True)
class CampaignSpec:
    """A campaign."""

    name: str
    """What the journal calls it: letters, digits, `.`, `_` and `-`, at most 64."""

    command: CommandArgs
    accounts: tuple[AccountSpec, ...]
    targets: Targeting = Targeting()
    waves: Waves = Waves()
    pace: Pace = Pace()
    abort: tuple[AbortRule, ...] = ()
    retries: Retries = Retries()
    leave_quota: int = 0
    """Commands of each day's quota, per account, that are left to others."""

    deadline: datetime | timedelta | None = None
    """When it stops creating: a time, or how long after its first run.  What runs then is still collected."""

    artifacts: ArtifactsSpec = ArtifactsSpec()
    lost_answers: LostAnswers = "reconcile"
    audit_after: timedelta = timedelta(minutes=15)
    """How long after the last POST that got lost the list is looked through for what came of it all the same."""
