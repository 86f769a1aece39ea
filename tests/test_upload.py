"""Products to a bucket: keys, sums, second runs, what is refused before the first byte."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import fault_server as faults
import pytest
import upload_scene
from fault_server import Exchange, FaultServer
from upload_scene import BUCKET, PART, local, make_products, options_for, stored

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.outgoing import Destination, find_outgoing
from starskope.transfer.stored import FileSums, compare, sum_file
from starskope.transfer.upload import UploadProgress, check_destination, upload

_credentials = upload_scene.credentials  # the fixtures
server = upload_scene.server


@pytest.fixture
def products(tmp_path: Path) -> Path:
    return make_products(tmp_path / "out")


def test_files_and_folders_arrive(server: Endpoint, products: Path) -> None:
    steps: list[UploadProgress] = []
    paths = [products / "stack.fits", products / "curves.zarr"]
    report = upload(paths, f"s3://{BUCKET}/arrive", options=options_for(server), progress=steps.append)
    assert set(report["status"]) == {"uploaded"}
    assert set(report["check"]) == {"crc64nvme"}
    assert stored(server, "arrive/") == local(products, "arrive")
    assert report["uri"][0] == f"s3://{BUCKET}/arrive/stack.fits"
    n_bytes = sum(map(len, local(products, "arrive").values()))
    assert report["size"].sum() == n_bytes
    assert [etag.rpartition("-")[2] for etag in report["etag"] if "-" in etag] == ["2"]
    assert (steps[-1].n_done, steps[-1].n_failed, steps[-1].bytes_done, steps[-1].bytes_total) == (
        4,
        0,
        n_bytes,
        n_bytes,
    )


def test_a_second_run_sends_nothing_and_a_changed_file_alone(server: Endpoint, products: Path) -> None:
    paths = [products / "stack.fits", products / "curves.zarr"]
    upload(paths, f"s3://{BUCKET}/again/", options=options_for(server))
    with FaultServer(server.url) as proxy:
        report = upload(paths, f"s3://{BUCKET}/again/", options=options_for(proxy))
        assert set(report["status"]) == {"present"}
        assert set(report["check"]) == {"crc64nvme"}
        assert not [request for request in proxy.requests if request.method == "PUT"]
    changed = bytearray((products / "stack.fits").read_bytes())
    changed[50_000] ^= 1
    (products / "stack.fits").write_bytes(changed)
    report = upload(paths, f"s3://{BUCKET}/again", options=options_for(server))
    assert sorted(report["status"]) == ["present", "present", "present", "uploaded"]
    assert stored(server, "again/") == local(products, "again")


def test_the_sums_of_a_file_are_those_that_s3_stores(tmp_path: Path, server: Endpoint) -> None:
    from awscrt import checksums

    content = bytes(range(256)) * 1000
    path = tmp_path / "file"
    path.write_bytes(content)
    whole = sum_file(path, lambda size: None)
    assert (whole.size, whole.etag, whole.n_parts) == (len(content), hashlib.md5(content).hexdigest(), 0)
    assert server.put("sums", content, bucket=BUCKET) == whole.etag
    for part in (1_000, 256_000, 255_999, 300_000):
        pieces = [content[i : i + part] for i in range(0, len(content), part)]
        md5s = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()
        sums = sum_file(path, lambda size, part=part: part)
        assert (sums.etag, sums.n_parts) == (f"{md5s}-{len(pieces)}", len(pieces))
        assert sums.crc64nvme == whole.crc64nvme
    import base64

    assert base64.b64decode(whole.crc64nvme) == checksums.crc64nvme(content).to_bytes(8, "big")


MD5 = "0123456789abcdef0123456789abcdef"
SUMS = FileSums(10, "rosUhgp5mIg=", MD5)


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        ({"ETag": f'"{MD5}"'}, "md5"),
        ({"ETag": f'"{MD5}"', "ChecksumCRC64NVME": SUMS.crc64nvme}, "crc64nvme"),
        ({"ETag": '"other"', "ChecksumCRC64NVME": SUMS.crc64nvme}, "crc64nvme"),
        ({"ETag": '"other"'}, None),
        ({}, None),
        ({"ETag": f'"{MD5[::-1]}"'}, None),
        ({"ETag": f'"{MD5[::-1]}"', "ChecksumCRC64NVME": SUMS.crc64nvme}, None),
        (
            {"ETag": MD5[::-1], "ChecksumCRC64NVME": SUMS.crc64nvme, "ServerSideEncryption": "aws:kms"},
            "crc64nvme",
        ),
        ({"ETag": f'"{MD5}"', "ChecksumCRC64NVME": "AAAAAAAAAAA="}, ""),
        ({"ETag": f'"{MD5}"', "ContentLength": 9}, ""),
    ],
)
def test_what_a_server_says_is_believed_as_far_as_it_goes(head: dict[str, object], verdict: str | None) -> None:
    assert compare(SUMS, {"ContentLength": 10, **head}) == verdict


def test_a_server_without_sums_has_the_bytes_read_back(server: Endpoint, products: Path) -> None:
    """An ETag that is no MD5 and no stored sum: as some S3-compatible stores answer."""
    hidden = ("x-amz-checksum", "etag")
    with FaultServer(server.url, dropped_headers=hidden) as proxy:
        report = upload([products / "stack.fits"], f"s3://{BUCKET}/bare", options=options_for(proxy))
        assert (report["status"][0], report["check"][0]) == ("uploaded", "read")
        assert [request.method for request in proxy.requests if "stack.fits" in request.target][-1] == "GET"
    assert stored(server, "bare/") == {"bare/stack.fits": (products / "stack.fits").read_bytes()}


def test_objects_of_another_store_are_not_mixed_with_this_one(server: Endpoint, products: Path) -> None:
    server.put("mixed/curves.zarr/flux/c/7", b"an older chunk", bucket=BUCKET)
    with pytest.raises(ValueError, match=r"mixed/curves\.zarr/flux/c/7 is not part of what is sent.*another prefix"):
        upload([products / "curves.zarr"], f"s3://{BUCKET}/mixed", options=options_for(server))
    assert list(stored(server, "mixed/")) == ["mixed/curves.zarr/flux/c/7"]


@pytest.mark.parametrize(
    "text", ["", "bucket/prefix", "s3://", "s3:///x", "s3://UP_ER!/x", "https://bucket/x", "s3://ab/x"]
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/prefix|bucket is"):
        Destination.parse(text)


@pytest.mark.parametrize("prefix", ["a//b", "../a", "a/./b", "a/..", "a\nb", "a\0b"])
def test_prefixes_that_others_could_not_address_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Destination.parse(f"s3://{BUCKET}/{prefix}")


def test_links_and_special_files_are_not_sent(tmp_path: Path) -> None:
    goal = Destination.parse(f"s3://{BUCKET}/x")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        find_outgoing([folder], goal)
    (folder / "link").unlink()
    (folder / "inner").symlink_to("/etc", target_is_directory=True)
    with pytest.raises(ValueError, match="is a link"):
        find_outgoing([folder], goal)
    (folder / "inner").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        find_outgoing([folder], goal)


def test_names_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    goal = Destination.parse(f"s3://{BUCKET}/" + "p" * 900)
    (tmp_path / "a").mkdir()
    for name in ("file", "a/file"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="would both be sent to"):
        find_outgoing([tmp_path / "file", tmp_path / "a" / "file"], goal)
    with pytest.raises(ValueError, match="shorten the prefix"):
        long = tmp_path / ("n" * 200)
        long.write_bytes(b"x")
        find_outgoing([long], goal)
    with pytest.raises(ValueError, match="no name in UTF-8"):
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd-\xff"))
        odd.write_bytes(b"x")
        find_outgoing([odd], goal)
    with pytest.raises(FileNotFoundError):
        find_outgoing([tmp_path / "none"], goal)
    with pytest.raises(TypeError, match="got one"):
        find_outgoing(str(tmp_path / "file"), goal)


def test_a_missing_bucket_is_told_before_anything_is_sent(server: Endpoint, products: Path) -> None:
    for call in (
        lambda: check_destination("s3://no-such-bucket/x", options_for(server)),
        lambda: upload([products / "stack.fits"], "s3://no-such-bucket/x", options=options_for(server)),
    ):
        with pytest.raises(TransferError, match=r"no bucket 'no-such-bucket' at http.*make it first"):
            call()
    check_destination(f"s3://{BUCKET}/deep/down", options_for(server))
    assert not stored(server, "deep/")


def test_a_file_that_is_gone_fails_alone(server: Endpoint, products: Path) -> None:
    async def lose(exchange: Exchange) -> None:
        (products / "curves.zarr" / "zarr.json").unlink()
        await faults.good(exchange)

    with FaultServer(server.url) as proxy:
        proxy.plan(lose, times=1)  # strikes the request that asks whether the bucket may be written
        paths = [products / "stack.fits", products / "curves.zarr"]
        report = upload(paths, f"s3://{BUCKET}/gone", options=options_for(proxy))
    assert [row["status"] for row in report if row["path"].endswith("zarr.json")] == ["failed"]
    assert "No such file" in " ".join(report["error"])
    assert stored(server, "gone/") == local(products, "gone")


def test_a_size_at_the_border_of_parts_arrives(server: Endpoint, tmp_path: Path) -> None:
    for size in (PART - 1, PART, PART + 1):
        (tmp_path / f"b{size}").write_bytes(bytes(size))
    report = upload(sorted(tmp_path.glob("b*")), f"s3://{BUCKET}/border", options=options_for(server))
    assert report["check"].tolist() == ["crc64nvme"] * 3
    assert [("-" in etag) for etag in report["etag"]] == [False, True, True]
