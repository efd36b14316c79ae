"""Devices that can be sent commands: GET /dex/commands/devices."""

from datetime import datetime

import attrs

from dexcmd.errors import ConfigurationError
from dexcmd.paging import MOST_AT_ONCE, Listing, ListQuery, given_filters
from dexcmd.resources.requests import CommandArgs, CommandRequest
from dexcmd.session import Session
from dexcmd.wire.converter import register_model, structure_rows
from dexcmd.wire.pages import MOST_PER_PAGE

__all__ = ["Device", "DevicesResource", "identity", "is_connected"]


@attrs.frozen
class Device:
    """One registration of one device.

    With multi-user devices the same `device_id` comes once per registration: the identity of a target is the
    pair (`device_id`, `registration_id`).  Any field may be None, for the service promises none of them.
    """

    device_id: str | None = None
    device_name: str | None = None
    eligible: bool | None = None
    """Whether the service would accept a command for it now."""

    ineligible_reason: str | None = None
    person_email: str | None = None
    platform: str | None = None
    """Such as `windows`, `mac`, `linux`."""

    registration_id: str | None = None
    status: str | None = None
    """Such as `connected`."""

    timestamp: datetime | str | None = None
    """When the device was last seen; a string as it came where it is no time."""

    version: str | None = None
    """The version of the WARP client."""

    def request(self, args: CommandArgs) -> CommandRequest:
        """Return a request for a command on this device, for its user and registration.

        Raises `ConfigurationError` where the service told no device id or no email.
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
    """Return what tells a row of the list from another."""
    return (device.device_id, device.registration_id) if device.device_id is not None else device


def is_connected(device: Device) -> bool:
    """Tell whether the service has a device as connected, or has no status of it."""
    return (device.status or "connected").strip().casefold() == "connected"


class DevicesResource:
    """`dex.devices`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, search: str | None = None, per_page: int = MOST_PER_PAGE) -> Listing[Device]:
        """List the devices that were connected within the last hour, one row a registration.

        `search` is looked for in names and emails.  Iterate the answer with `async for`, await it for a list,
        or take its `pages()`.  Raises `ConfigurationError` for a `search` that is empty or a `per_page` outside
        1 to 50, and `DexError` while iterating.
        """
        filters = given_filters({"search": search})
        query = ListQuery("/dex/commands/devices", per_page, filters, at_once=MOST_AT_ONCE)
        return Listing(self._session, query, lambda result: structure_rows(result, "devices", Device), identity)
