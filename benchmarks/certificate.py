"""A certificate for loopback, of an authority that exists for one run."""

from pathlib import Path
from typing import NamedTuple

import trustme

__all__ = ["Certificate", "make_certificate"]


class Certificate(NamedTuple):
    """Where the PEM files are."""

    authority: Path
    """What clients have to trust."""

    server: Path
    """The server's certificate and its key."""


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate for 127.0.0.1 in a folder."""
    certificate = Certificate(folder / "authority.pem", folder / "server.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(certificate.authority)
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(certificate.server)
    return certificate
