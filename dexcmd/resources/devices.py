"""Devices that commands can be sent to: GET /dex/commands/devices."""

from datetime import datetime

import attrs

from dexcmd.errors import ConfigurationError
from dexcmd.paging import MAX_AT_ONCE, Listing, ListQuery, given_filters
from dexcmd.resources.requests import CommandArgs, CommandRequest
from dexcmd.session import Session
from dexcmd.wire.converter import register_model, structure_rows
from dexcmd.wire.pages import MAX_PER_PAGE

__all__ = ["Device", "DevicesResource", "identity", "is_connected"]


@attrs.frozen
class Device:
    """One registration of one device.

    A multi-user device has one row per registration, so the identity of a target is the pair (`device_id`,
    `registration_id`).  Any field may be None: the service guarantees none of them.
    """

    device_id: str | None = None
    device_name: str | None = None
    eligible: bool | None = None
    """Whether the service would currently accept a command for it."""

    ineligible_reason: str | None = None
    person_email: str | None = None
    platform: str | None = None
    """For example `windows`, `mac` or `linux`."""

    registration_id: str | None = None
    status: str | None = None
    """For example `connected`."""

    timestamp: datetime | str | None = None
    """When the device was last seen; the original string if it can't be parsed."""

    version: str | None = None
    """The version of the WARP client."""

    def request(self, args: CommandArgs) -> CommandRequest:
        """Return a request for a command on this device, for its user and registration.

        Raises `ConfigurationError` if the device id or the email is missing.
        """
        if self.device_id is None or self.person_email is None:
            raise ConfigurationError(
                f"a command needs a device id and an email: {self.device_id!r}, {self.person_email!r}"
            )
        return CommandRequest(
            device_id=self.device_id,
            user_email=self.person_email,
            args=args,
            registration_id=self.registration_id,
        )


register_model(
    Device,
    device_id="deviceId",
    device_name="deviceName",
    ineligible_reason="ineligibleReason",
    person_email="personEmail",
    registration_id="registrationId",
)


def identity(device: Device) -> object:
    """Return a key that distinguishes rows of the list."""
    return (device.device_id, device.registration_id) if device.device_id is not None else device


def is_connected(device: Device) -> bool:
    """Tell whether the service reports a device as connected, or without a status."""
    return (device.status or "connected").strip().casefold() == "connected"


class DevicesResource:
    """`dex.devices`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, search: str | None = None, per_page: int = MAX_PER_PAGE) -> Listing[Device]:
        """List the devices that were connected within the last hour, one row per registration.

        `search` matches names and emails.  Iterate over the listing with `async for`, await it for a list, or iterate
        over its `pages()`.  Raises `ConfigurationError` for an empty `search` or a `per_page` outside 1 to 50, and
        `DexError` while iterating.
        """
        filters = given_filters({"search": search})
        query = ListQuery("/dex/commands/devices", per_page, filters, at_once=MAX_AT_ONCE)
        return Listing(self._session, query, lambda result: structure_rows(result, "devices", Device), identity)
