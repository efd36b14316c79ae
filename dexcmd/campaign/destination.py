"""Where a campaign's artifacts go: the sink that its spec names, and each artifact's place in it."""

from pathlib import Path
from typing import Any

import attrs

from dexcmd.campaign.desk import Flight
from dexcmd.campaign.spec import ArtifactsSpec
from dexcmd.errors import ConfigurationError
from dexcmd.resources.command import Command, command_id_of
from dexcmd.safe_text import one_line
from dexcmd.session import Session
from dexcmd.transfer.address import address
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.objectstore import ObjectStoreSink
from dexcmd.transfer.options import SaveOptions
from dexcmd.transfer.save import save_artifact
from dexcmd.transfer.saved import Saved, SavedArtifact, StoredArtifact
from dexcmd.transfer.sink import Sink, Store
from dexcmd.transfer.template import PlaceTemplate

__all__ = ["Destination", "sink_for"]


def sink_for(artifacts: ArtifactsSpec) -> Sink[Any]:
    """Return the sink that a spec names.  Raises `ConfigurationError`."""
    # A URL is always a bucket's: the spec accepts no other.
    if "://" not in artifacts.into:
        return FileSink(Path(artifacts.into))
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise ConfigurationError(
            "an object store requires an optional dependency: pip install 'dexcmd[object-store]'"
        ) from None
    try:
        return ObjectStoreSink(from_url(artifacts.into))
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"{artifacts.into!r} does not name a usable bucket: {one_line(str(error))}") from error


@attrs.frozen
class Destination:
    """Fetches the artifacts of one account to their places."""

    session: Session
    store: Store[Any]
    template: PlaceTemplate
    campaign: str

    async def fetch(self, flight: Flight, command: Command) -> tuple[str, Saved]:
        """Fetch an artifact to its place, and return its location: a path or a key.  Raises `DexError`."""
        target, where = flight.target, address(command)
        place = self.template.place(
            {
                "campaign": self.campaign,
                "account": target.account,
                "wave": str(target.wave),
                "device_id": target.device_id,
                "device_name": target.device_name,
                "user_email": target.user_email,
                "platform": target.platform,
                "registration_id": target.registration_id,
                "command_id": command_id_of(command),
                "type": flight.request.type,
                "created": command.created_date,
                "filename": where.filename,
            }
        )
        saved = await save_artifact(self.session, where.name(place), self.store, SaveOptions())
        return _location(saved), saved


def _location(saved: Saved) -> str:
    match saved:
        case SavedArtifact(path=path):
            return str(path)
        case StoredArtifact(key=key):
            return key
        case _:
            raise TypeError(f"a campaign's artifacts are files or objects, not {type(saved).__name__}")
