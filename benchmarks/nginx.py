"""nginx as the service that artifacts come from: in one unprivileged process, with all that it writes in one folder."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.canned import QUOTA
from benchmarks.service import Service

__all__ = ["NGINX", "nginx_service"]

NGINX = shutil.which("nginx")

START_SECONDS = 10.0
LOOK_SECONDS = 0.01

# Paths are below the folder, which is given as the prefix.  One process, and so one place to read the CPU from.
CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {}
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    sendfile on;
    tcp_nopush on;
    output_buffers 2 512k;
    keepalive_requests 1000000;
    open_file_cache max=4;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:%(port)s%(tls)s;
        location ~ /dex/commands/quota$ { default_type application/json; return 200 '%(quota)s'; }
        location ~ /downloads/ { default_type application/zip; alias %(file)s; }
    }
}
"""


# The certificate's file holds its key as well.
TLS = " ssl; ssl_certificate %(certificate)s; ssl_certificate_key %(certificate)s"


@contextmanager
def nginx_service(folder: Path, file: str, certificate: str | None = None) -> Iterator[Service]:
    """Serve a file of the folder for every artifact; with a certificate, a PEM file of the folder, over TLS.

    Raises `RuntimeError` where nginx does not start; its own words are on stderr.
    """
    port = _free_port()
    tls = "" if certificate is None else TLS % {"certificate": certificate}
    configuration = CONFIGURATION % {"port": port, "tls": tls, "quota": QUOTA.decode(), "file": file}
    (folder / "nginx.conf").write_text(configuration)
    scheme = "http" if certificate is None else "https"
    with subprocess.Popen([NGINX, "-p", folder, "-e", "stderr", "-c", "nginx.conf"]) as process:
        try:
            _wait(process, port)
            yield Service(_version(), f"{scheme}://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def _free_port() -> int:
    # nginx can't tell a port that the system has picked.
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(LOOK_SECONDS)
        else:
            return
    raise RuntimeError("nginx did not start")


def _version() -> str:
    told = subprocess.run([NGINX, "-v"], stderr=subprocess.PIPE, text=True, check=True).stderr
    return told.strip().rpartition(" ")[2]
