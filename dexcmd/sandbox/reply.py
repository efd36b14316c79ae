"""What is sent back for a request, down to how the body ends."""

from collections.abc import Mapping
from typing import Literal

import attrs

from dexcmd.sandbox.content import Content, Loaded
from dexcmd.sandbox.faults import Framing

__all__ = ["Reply", "Trickle"]


@attrs.frozen(kw_only=True)
class Trickle:
    """How a body comes slowly."""

    at: int
    """How many bytes come at once before."""
    piece: int
    """How many bytes come together at the most."""
    rate: float
    """Bytes per second."""
    real_time: bool
    """Whether these are real seconds, or those of the sandbox's clock."""


def _whole(reply: "Reply") -> int:
    return reply.content.size


@attrs.frozen(kw_only=True)
class Reply:
    """An answer, ready to be sent: pure data, except for the content that it refers to."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Without those of the framing."""
    content: Content = attrs.field(factory=lambda: Loaded(b""))
    start: int = 0
    """Where in the content the body starts."""
    stop: int = attrs.Factory(_whole, takes_self=True)
    """Where in the content the body stops; by default at its end."""
    framing: Framing = "length"
    lie: int = 0
    """By how much the declared length is off; where it is too small, what is too much is sent all the same."""
    limit: int | None = None
    """How many bytes of the body are sent before `ending` strikes; None for all of them."""
    trickle: Trickle | None = None
    """How slowly the body comes; None for at once."""
    ending: Literal["complete", "drop", "reset", "silence"] = "complete"
    """What comes after the last byte sent."""
    head: bool = True
    """Whether status line and headers are sent at all."""

    @property
    def length(self) -> int:
        """Bytes of the body, before any fault."""
        return self.stop - self.start

    @property
    def declared(self) -> int:
        """What `Content-Length` says, where the framing has one."""
        return self.length + self.lie

    @property
    def sent(self) -> int:
        """Bytes of the body that are sent."""
        return self.length if self.limit is None else min(self.length, self.limit)
