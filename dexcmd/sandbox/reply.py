"""The response to a request, including how its body ends."""

from collections.abc import Mapping
from typing import Literal

import attrs

from dexcmd.sandbox.content import Content, Loaded
from dexcmd.sandbox.faults import Framing

__all__ = ["Reply", "Trickle"]


@attrs.frozen(kw_only=True)
class Trickle:
    """How to send a body slowly."""

    at: int
    """How many bytes are sent at full speed first."""
    piece: int
    """Maximum number of bytes sent at a time."""
    rate: float
    """Bytes per second."""
    real_time: bool
    """Whether seconds are of real time rather than the sandbox's clock."""


def _whole(reply: "Reply") -> int:
    return reply.content.size


@attrs.frozen(kw_only=True)
class Reply:
    """A response, ready to be sent: pure data, except for the content that it refers to."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Response headers, without those of the framing."""
    content: Content = attrs.field(factory=lambda: Loaded(b""))
    start: int = 0
    """Where in the content the body starts."""
    stop: int = attrs.Factory(_whole, takes_self=True)
    """Where in the content the body ends; by default at the end of the content."""
    framing: Framing = "length"
    lie: int = 0
    """Error in the declared length; if it is too small, the excess bytes are sent all the same."""
    limit: int | None = None
    """How many bytes of the body are sent before `ending` strikes; None for all of them."""
    trickle: Trickle | None = None
    """How to send the body slowly; None for at full speed."""
    ending: Literal["complete", "drop", "reset", "silence"] = "complete"
    """What happens after the last byte sent."""
    head: bool = True
    """Whether status line and headers are sent at all."""

    @property
    def length(self) -> int:
        """Bytes of the body, before any fault."""
        return self.stop - self.start

    @property
    def declared(self) -> int:
        """The value of `Content-Length`, if the framing has one."""
        return self.length + self.lie

    @property
    def sent(self) -> int:
        """Number of bytes of the body that are sent."""
        return self.length if self.limit is None else min(self.length, self.limit)
