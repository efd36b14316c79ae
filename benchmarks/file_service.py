"""The service that artifacts come from: one file for all of them, in the clear or over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.artifact import write_artifact
from benchmarks.canned import canned_service
from benchmarks.case import Params
from benchmarks.certificate import make_certificate
from benchmarks.folders import case_folder
from benchmarks.nginx import NGINX, nginx_service

__all__ = ["file_service"]


@contextmanager
def file_service(size: int, *, tls: bool) -> Iterator[Params]:
    """Serve a zip of about `size` bytes; by nginx where that is on the `PATH`, else by aiohttp, which takes more CPU.

    Gives the service's params with `artifact`, the path of the zip, its `size`, a `folder` to save in and, with
    TLS, `authority`: the PEM file to trust.
    """
    with case_folder() as folder:
        artifact = folder / "artifact.zip"
        write_artifact(artifact, size)
        certificate = make_certificate(folder) if tls else None
        server = None if certificate is None else certificate.server
        if NGINX:
            running = nginx_service(folder, artifact.name, server and server.name)
        else:
            running = canned_service(file=artifact, certificate=server)
        with running as service:
            yield {
                **service.params(),
                "artifact": str(artifact),
                "size": artifact.stat().st_size,
                "folder": str(folder),
                **({} if certificate is None else {"authority": str(certificate.authority)}),
            }
