"""S3 addresses and the local names made of them, as pure functions.

Owns the grammar of ``s3://bucket/key`` and the rule that a name from the network never leaves the destination. It
refuses to touch the disk.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["MAX_KEY_BYTES", "S3Uri", "check_bucket", "folded", "local_name"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-_]{1,61}[a-z0-9]", re.IGNORECASE)
_DEVICES = re.compile(r"(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_MAX_NAME_BYTES = 255
MAX_KEY_BYTES = 1024


def check_bucket(name: str) -> None:
    """Raise ValueError when no bucket can have this name."""
    if not _BUCKET.fullmatch(name):
        raise ValueError(f"bucket is {name!r}: expected 3 to 63 letters, digits, dots, dashes, such as 'stpubdata'")


@dataclass(frozen=True, order=True)
class S3Uri:
    """Bucket and key of one object.

    Parameters
    ----------
    bucket : str
        Name of the bucket.
    key : str
        Full key, as stored.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Read ``s3://bucket/key``.

        Raises
        ------
        ValueError
            When the text is something else.

        Examples
        --------
        >>> S3Uri.parse("s3://stpubdata/tess/a.fits")
        S3Uri(bucket='stpubdata', key='tess/a.fits')
        """
        if not str(text).startswith("s3://"):
            raise ValueError(f"expected an address like s3://bucket/key, got {text!r}")
        bucket, slash, key = text.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{text!r} names no bucket: expected s3://bucket/key")
        if not slash or not key:
            raise ValueError(f"{text!r} names a bucket but no key: expected s3://bucket/key")
        if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
            raise ValueError(f"the key of {text[:80]!r}... is longer than the {MAX_KEY_BYTES} bytes that S3 allows")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def local_name(key: str) -> str:
    """Return the file name under which an object is stored: the last part of its key.

    Parameters
    ----------
    key : str
        Key of the object, which came from the network and is not trusted.

    Returns
    -------
    str
        One path component that stays in its directory on every system.

    Raises
    ------
    ValueError
        When the last part is empty, hidden, ``.`` or ``..``, holds a separator, a character that cannot be printed
        (controls, also of the direction of writing) or that some systems forbid, is the name of a device, or is longer
        than 255 bytes.

    Examples
    --------
    >>> local_name("tess/public/ffi/tess2018206192942-s0001-1-1-0120-s_ffic.fits")
    'tess2018206192942-s0001-1-1-0120-s_ffic.fits'
    """
    name = key.rpartition("/")[2]
    reason = None
    if not name:
        reason = "ends in a slash and so names no file"
    elif name.startswith("."):
        reason = "begins with a dot, which is kept for unfinished files"
    elif not name.isprintable() and not any(0xD800 <= ord(character) < 0xE000 for character in name):
        reason = "holds a character that cannot be seen, or steers what shows it"
    elif any(character in '\\:*?"<>|' for character in name):
        reason = 'holds one of \\ : * ? " < > |'
    elif name[-1] in ". ":
        reason = "ends in a dot or blank, which some systems drop"
    elif _DEVICES.fullmatch(name):
        reason = "is the name of a device"
    else:
        try:
            if len(name.encode("utf-8")) > _MAX_NAME_BYTES:
                reason = f"is longer than {_MAX_NAME_BYTES} bytes"
        except UnicodeEncodeError:
            reason = "is not valid Unicode"
    if reason is not None:
        raise ValueError(f"key {key[:200]!r} cannot be stored as a file: its last part {reason}")
    return name


def folded(name: str) -> str:
    """Return what two file names share that are one on systems which fold case or compose characters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
