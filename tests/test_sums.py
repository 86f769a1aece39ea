"""The sums that a server may store: which is chosen, and that it is right whatever the steps."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from starskope.transfer.sums import StoredSum, choose_sum, crc64, crc64_text, running_sum

CONTENT = np.random.default_rng(11).bytes(300_007)
MD5 = hashlib.md5(CONTENT).hexdigest()


def _crc_bit_by_bit(data: bytes, polynomial: int, n_bits: int) -> int:
    """The definition, for reflected CRCs whose start and end are inverted."""
    ones = (1 << n_bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return value ^ ones


def _text(value: int, n_bytes: int) -> str:
    return base64.b64encode(value.to_bytes(n_bytes, "big")).decode()


@pytest.mark.parametrize(
    ("name", "polynomial", "n_bytes"),
    # Reflected polynomials of NVM Express (CRC64NVME), Castagnoli and IEEE 802.3.
    [("crc64nvme", 0x9A6C9329AC4BC9B5, 8), ("crc32c", 0x82F63B78, 4), ("crc32", 0xEDB88320, 4)],
)
def test_crcs_are_those_of_their_polynomials(name: str, polynomial: int, n_bytes: int) -> None:
    for data in (b"", b"\0", b"123456789", CONTENT[:1000]):
        total = running_sum(name)
        total.update(data)
        assert total.result() == _text(_crc_bit_by_bit(data, polynomial, 8 * n_bytes), n_bytes)


@pytest.mark.parametrize("step", [1_009, 70_001, 10**6])
def test_sums_do_not_depend_on_the_steps(step: int) -> None:
    expected = {
        "crc32": _text(zlib.crc32(CONTENT), 4),
        "sha256": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
        "sha1": base64.b64encode(hashlib.sha1(CONTENT).digest()).decode(),
        "md5": MD5,
        "crc64nvme": crc64_text(crc64(CONTENT)),
    }
    for name, value in expected.items():
        total = running_sum(name)
        for start in range(0, len(CONTENT), step):
            total.update(memoryview(CONTENT)[start : start + step])
        assert total.result() == value
        total.update(b"x")
        assert total.result() != value


@pytest.mark.parametrize("n_stream", [1, 2, 5, 17, 40])
def test_md5_of_streams_that_come_together_is_that_of_each(n_stream: int) -> None:
    rng = np.random.default_rng(n_stream)
    contents = [rng.bytes(int(rng.integers(400_000))) for _ in range(n_stream)]
    meet = threading.Barrier(n_stream)

    def look(i: int) -> str:
        splits, total = np.random.default_rng(i), running_sum("md5")
        meet.wait()
        rest = memoryview(contents[i])
        while rest:
            n_bytes = int(splits.choice([1, 63, 64, 1024, 1025, 65_537]))
            total.update(rest[:n_bytes])
            rest = rest[n_bytes:]
        return total.result()

    with ThreadPoolExecutor(n_stream) as pool:
        found = list(pool.map(look, range(n_stream)))
    assert found == [hashlib.md5(content).hexdigest() for content in contents]


def test_md5_of_every_length_about_a_block() -> None:
    for n_bytes in [*range(201), *range(1000, 1100)]:
        for first in {0, 1, 63, 64, n_bytes // 2}:
            total = running_sum("md5")
            total.update(CONTENT[:first][:n_bytes])
            total.update(CONTENT[first:n_bytes])
            assert total.result() == hashlib.md5(CONTENT[:n_bytes]).hexdigest()


def test_one_md5_may_be_added_to_by_any_thread() -> None:
    total = running_sum("md5")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(total.update, [bytes(70_001)] * 50))
    assert total.result() == hashlib.md5(bytes(70_001 * 50)).hexdigest()


def test_md5_takes_contiguous_bytes_alone() -> None:
    total = running_sum("md5")
    with pytest.raises(ValueError, match="expected contiguous bytes"):
        total.update(memoryview(CONTENT)[::2])
    with pytest.raises(TypeError):
        total.update("text")  # type: ignore[arg-type]
    assert total.result() == hashlib.md5(b"").hexdigest()


FORKS = """
import hashlib, os, signal, threading, warnings
from starskope.transfer.sums import running_sum
warnings.simplefilter("ignore")  # of forks beside threads: that they work is what is tested
content = bytes(100_000)

def work():
    total = running_sum("md5")
    while True:
        total.update(content)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
held = running_sum("md5")
held.update(content)
for _ in range(20):
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        signal.alarm(20)
        del held
        total = running_sum("md5")
        total.update(content)
        os._exit(total.result() != hashlib.md5(content).hexdigest())
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_md5_goes_on_in_the_child_of_a_fork() -> None:
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)


def test_the_cheapest_sum_of_the_whole_is_chosen() -> None:
    every = {f"x-amz-checksum-{name}": name for name in ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")}
    cases = [
        (every, MD5, StoredSum("crc64nvme", "crc64nvme")),
        ({"x-amz-checksum-sha256": "s", "x-amz-checksum-crc32c": "c"}, MD5, StoredSum("crc32c", "c")),
        ({"x-amz-checksum-sha1": "s"}, MD5, StoredSum("sha1", "s")),
        ({}, f'"{MD5}"', StoredSum("md5", MD5)),
        ({"x-amz-checksum-crc32": "abcdef==-5"}, f"{MD5}-5", None),
        ({"x-amz-checksum-crc32": "abcdef==-5"}, MD5, StoredSum("md5", MD5)),
        ({**every, "x-amz-checksum-type": "COMPOSITE"}, f"{MD5}-5", None),
        ({**every, "x-amz-checksum-type": "FULL_OBJECT"}, f"{MD5}-5", StoredSum("crc64nvme", "crc64nvme")),
        ({"x-amz-server-side-encryption": "aws:kms"}, MD5, None),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, MD5, None),
        ({"x-amz-server-side-encryption": "AES256"}, MD5, StoredSum("md5", MD5)),
    ]
    for headers, etag, chosen in cases:
        assert choose_sum(headers, etag) == chosen


def test_an_unknown_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="'crc99' is no sum: expected one of crc64nvme"):
        running_sum("crc99")
