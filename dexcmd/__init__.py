"""Asyncio SDK for Cloudflare's DEX commands API: remote captures, followed and streamed to disk.

    from dexcmd import DexClient, Pcap

    async with DexClient() as dex:
        async for device in dex.devices.list(search="LON-"):
            ...

The names below are the public ones.  Each is loaded on first use, so that the command line, and tools that
only look at the package, don't wait for the HTTP client to be imported.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from dexcmd._version import __version__

if TYPE_CHECKING:
    from dexcmd.campaign.campaign import Campaign, list_campaigns
    from dexcmd.campaign.export.write import export_campaign
    from dexcmd.campaign.file import parse_campaign, read_campaign_file
    from dexcmd.campaign.journal import open_journal
    from dexcmd.campaign.plan import Plan
    from dexcmd.campaign.spec import CampaignSpec
    from dexcmd.campaign.status import CampaignStatus
    from dexcmd.capture import Capture, CaptureResult
    from dexcmd.client import DexClient
    from dexcmd.errors import (
        AmbiguousCreateError,
        APIError,
        ArtifactChangedError,
        ArtifactExistsError,
        ArtifactTooLargeError,
        AuthenticationError,
        BadRequestError,
        CampaignBusyError,
        CampaignError,
        CampaignExistsError,
        CampaignFileError,
        CampaignNotFoundError,
        CommandFailedError,
        ConfigurationError,
        DexError,
        DexWarning,
        DownloadError,
        ErrorDetail,
        InsufficientSpaceError,
        InvalidArtifactError,
        MemberNotFoundError,
        NotFoundError,
        PermissionDeniedError,
        QuotaExceededError,
        RateLimitError,
        ResponseDecodeError,
        ServerError,
        StalledDownloadError,
        TargetBusyError,
        TransportError,
        TransportTimeoutError,
        TruncatedArtifactError,
        UnreadableMemberError,
        UnsafeFilenameError,
        WaitTimeoutError,
    )
    from dexcmd.fanout import BulkCreate
    from dexcmd.follow import Follow
    from dexcmd.outcome import BulkResult, Outcome
    from dexcmd.paging import Listing
    from dexcmd.resources.command import Command
    from dexcmd.resources.devices import Device
    from dexcmd.resources.downloads import OpenArtifact
    from dexcmd.resources.quota import Quota
    from dexcmd.resources.requests import CommandRequest, Pcap, SpeedTest, WarpDiag
    from dexcmd.transfer.artifact import Artifact
    from dexcmd.transfer.extraction import ExtractLimits
    from dexcmd.transfer.folder import FileSink
    from dexcmd.transfer.limits import DownloadLimits
    from dexcmd.transfer.many import SaveMany, SaveResult, SaveTotals
    from dexcmd.transfer.members import Member, MemberStream, OpenMember
    from dexcmd.transfer.objectstore import ObjectStoreSink
    from dexcmd.transfer.progress import Progress
    from dexcmd.transfer.saved import Saved, SavedArtifact, StoredArtifact
    from dexcmd.transfer.sink import Sink
    from dexcmd.transfer.template import PlaceTemplate
    from dexcmd.wire.retrying import RetryPolicy
    from dexcmd.wire.window import RateLimit

__all__ = [
    "APIError",
    "AmbiguousCreateError",
    "Artifact",
    "ArtifactChangedError",
    "ArtifactExistsError",
    "ArtifactTooLargeError",
    "AuthenticationError",
    "BadRequestError",
    "BulkCreate",
    "BulkResult",
    "Campaign",
    "CampaignBusyError",
    "CampaignError",
    "CampaignExistsError",
    "CampaignFileError",
    "CampaignNotFoundError",
    "CampaignSpec",
    "CampaignStatus",
    "Capture",
    "CaptureResult",
    "Command",
    "CommandFailedError",
    "CommandRequest",
    "ConfigurationError",
    "Device",
    "DexClient",
    "DexError",
    "DexWarning",
    "DownloadError",
    "DownloadLimits",
    "ErrorDetail",
    "ExtractLimits",
    "FileSink",
    "Follow",
    "InsufficientSpaceError",
    "InvalidArtifactError",
    "Listing",
    "Member",
    "MemberNotFoundError",
    "MemberStream",
    "NotFoundError",
    "ObjectStoreSink",
    "OpenArtifact",
    "OpenMember",
    "Outcome",
    "Pcap",
    "PermissionDeniedError",
    "PlaceTemplate",
    "Plan",
    "Progress",
    "Quota",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitError",
    "ResponseDecodeError",
    "RetryPolicy",
    "SaveMany",
    "SaveResult",
    "SaveTotals",
    "Saved",
    "SavedArtifact",
    "ServerError",
    "Sink",
    "SpeedTest",
    "StalledDownloadError",
    "StoredArtifact",
    "TargetBusyError",
    "TransportError",
    "TransportTimeoutError",
    "TruncatedArtifactError",
    "UnreadableMemberError",
    "UnsafeFilenameError",
    "WaitTimeoutError",
    "WarpDiag",
    "__version__",
    "export_campaign",
    "list_campaigns",
    "open_journal",
    "parse_campaign",
    "read_campaign_file",
]

# A library leaves it to the application where its log goes; without this, warnings would go to stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "dexcmd.campaign.campaign": ("Campaign", "list_campaigns"),
    "dexcmd.campaign.export.write": ("export_campaign",),
    "dexcmd.campaign.file": ("parse_campaign", "read_campaign_file"),
    "dexcmd.campaign.journal": ("open_journal",),
    "dexcmd.campaign.plan": ("Plan",),
    "dexcmd.campaign.spec": ("CampaignSpec",),
    "dexcmd.campaign.status": ("CampaignStatus",),
    "dexcmd.capture": ("Capture", "CaptureResult"),
    "dexcmd.client": ("DexClient",),
    "dexcmd.fanout": ("BulkCreate",),
    "dexcmd.follow": ("Follow",),
    "dexcmd.outcome": ("BulkResult", "Outcome"),
    "dexcmd.paging": ("Listing",),
    "dexcmd.resources.command": ("Command",),
    "dexcmd.resources.devices": ("Device",),
    "dexcmd.resources.downloads": ("OpenArtifact",),
    "dexcmd.resources.quota": ("Quota",),
    "dexcmd.resources.requests": ("CommandRequest", "Pcap", "SpeedTest", "WarpDiag"),
    "dexcmd.transfer.artifact": ("Artifact",),
    "dexcmd.transfer.folder": ("FileSink",),
    "dexcmd.transfer.limits": ("DownloadLimits",),
    "dexcmd.transfer.many": ("SaveMany", "SaveResult", "SaveTotals"),
    "dexcmd.transfer.progress": ("Progress",),
    "dexcmd.transfer.objectstore": ("ObjectStoreSink",),
    "dexcmd.transfer.saved": ("Saved", "SavedArtifact", "StoredArtifact"),
    "dexcmd.transfer.sink": ("Sink",),
    "dexcmd.transfer.template": ("PlaceTemplate",),
    "dexcmd.transfer.extraction": ("ExtractLimits",),
    "dexcmd.transfer.members": ("Member", "MemberStream", "OpenMember"),
    "dexcmd.wire.retrying": ("RetryPolicy",),
    "dexcmd.wire.window": ("RateLimit",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name on its first use.  What is not listed above is an error."""
    if name not in __all__:
        raise AttributeError(f"module 'dexcmd' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF.get(name, "dexcmd.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name all that is public, loaded or not."""
    return sorted(__all__)
