"""A real server that speaks S3, for as long as a test needs it: SeaweedFS, or moto's where that has no wheel."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import attrs
import boto3
import botocore.exceptions
from botocore.config import Config
from obstore.store import S3Store

BUCKET = "downloads"
KEY_ID = "AK"
SECRET = "SKSKSKSK"

SCRIPTS = Path(sysconfig.get_path("scripts"))
WEED = shutil.which("weed", path=f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")
SECONDS_TO_START = 60


@attrs.frozen
class S3Server:
    """A server that is ready, with one bucket."""

    url: str
    process: "subprocess.Popen[bytes]"

    # Either takes long to make, and tests look often.
    @cached_property
    def client(self) -> Any:
        """A client that lists what obstore can't."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    @cached_property
    def reader(self) -> S3Store:
        """The store by which tests look at what others have stored."""
        return self.store()

    def store(self, bucket: str = BUCKET, **changes: Any) -> S3Store:
        options: dict[str, Any] = {
            "endpoint": self.url,
            "region": "us-east-1",
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
            "client_options": {"allow_http": True, "timeout": timedelta(seconds=60)},
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
        }
        return S3Store(bucket, **{**options, **changes})

    def unfinished(self, prefix: str) -> list[str]:
        """Return the keys below a prefix of multipart uploads that are neither complete nor aborted."""
        return [
            upload["Key"]
            for upload in self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
        ]

    def keys(self, prefix: str) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def is_ready(self) -> bool:
        try:
            if WEED is None:
                self.client.create_bucket(Bucket=BUCKET)
            self.client.head_bucket(Bucket=BUCKET)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True

    @classmethod
    def start(cls, folder: Path, port: int) -> Self:
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "HOME": str(folder)}
        (folder / "data").mkdir()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(_command(folder, port), env=environment, cwd=folder, stdout=log, stderr=log)
        server = cls(f"http://127.0.0.1:{port}", process)
        end = time.monotonic() + SECONDS_TO_START
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > end:
                server.kill()
                raise RuntimeError((folder / "log").read_text()[-4000:])
            time.sleep(0.05)
        return server


def _command(folder: Path, port: int) -> list[str]:
    if WEED is None:
        return [str(SCRIPTS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    ports = ["s3.port", "filer.port", "master.port", "volume.port", "admin.port"]
    # Whatever is not told its port takes a fixed one.
    options = [
        f"-{name}{grpc}={port + 2 * index + bool(grpc)}" for index, name in enumerate(ports) for grpc in ("", ".grpc")
    ]
    return [
        *(WEED, "-logtostderr=true", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-admin.ui=false", "-webdav=false", "-s3.port.lance=0", "-s3.port.iceberg=0"),
        *options,
        *("-s3.autoCreateBucket=false", f"-bucket={BUCKET}"),
    ]


def _ten_ports() -> int:
    """Return the first of ten ports in a row that nobody has."""
    while True:
        first = random.randrange(20000, 32000, 10)
        with contextlib.ExitStack() as taken:
            try:
                for port in range(first, first + 10):
                    taken.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    port = _ten_ports()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = S3Server.start(Path(folder), port)
        try:
            yield server
        finally:
            server.kill()
            for number in range(port, port + 10):
                for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink()
