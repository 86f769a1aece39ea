"""What the tests of uploads share: a server with a bucket, products as a run leaves them, and what the bucket holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fault_server import FaultServer

from starskope.synth.endpoint import Endpoint
from starskope.transfer.options import TransferOptions

BUCKET = "products"
PART = 16 * 2**20
SECRET = "invented-secret-that-nobody-may-see"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAINVENTED", "AWS_SECRET_ACCESS_KEY": SECRET}


def make_products(folder: Path) -> Path:
    """A file, and a store of several: one empty, one large enough for parts."""
    rng = np.random.default_rng(7)
    (folder / "curves.zarr" / "flux" / "c").mkdir(parents=True)
    (folder / "stack.fits").write_bytes(rng.bytes(100_000))
    (folder / "curves.zarr" / "zarr.json").write_bytes(b"{}")
    (folder / "curves.zarr" / "flux" / "c" / "0").write_bytes(b"")
    (folder / "curves.zarr" / "flux" / "c" / "1").write_bytes(rng.bytes(PART + 12_345))
    return folder


def options_for(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    settings = {"endpoint_url": server.url, "backoff_base_s": 0.01, "max_attempts": 3, **changes}
    return TransferOptions(**settings)  # type: ignore[arg-type]


def stored(server: Endpoint, prefix: str) -> dict[str, bytes]:
    client = server._s3(BUCKET)
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def unfinished(server: Endpoint) -> list[str]:
    """Keys of uploads in parts that were begun and neither ended nor given up."""
    return [upload["Key"] for upload in server._s3(BUCKET).list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


def local(folder: Path, prefix: str) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}
