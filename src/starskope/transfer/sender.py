"""The one boto3 client of an upload, and the few requests that it makes.

Owns how the client is configured, boto3's managed transfer and the words for its errors. It refuses to decide what is
sent again, and to show credentials: they stay with botocore's providers, and of a server's answer only status and code
are repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore import exceptions as boto

from starskope.errors import TransferError
from starskope.transfer.client import Client, is_loopback
from starskope.transfer.faults import NETWORK_ERRORS, Fault, explain
from starskope.transfer.options import TransferOptions
from starskope.transfer.outgoing import Destination, Outgoing
from starskope.transfer.stored import FileSums
from starskope.transfer.sums import running_sum
from starskope.transfer.uris import S3Uri

__all__ = ["Sender", "n_attempts"]

_PART_BYTES = 16 * 2**20
_MAX_PARTS = 10_000
_READ_STEP_BYTES = 2**20
_BAD_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"}
)


class Sender:
    """An open client that writes.

    Parameters
    ----------
    options : TransferOptions
        Endpoint, profile, patience. Requests are signed unless ``signed`` is False: nobody writes unsigned to a
        bucket of one's own.

    Raises
    ------
    TransferError
        When the profile does not exist or the AWS configuration cannot be read.
    """

    def __init__(self, options: TransferOptions) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig, create_transfer_manager
        from botocore import UNSIGNED
        from botocore.config import Config

        self.options = options
        endpoint_url = options.resolve_endpoint()
        arguments: dict[str, Any] = {}
        if endpoint_url is not None and is_loopback(endpoint_url):
            arguments["proxies"] = {}
        if options.signed is False:
            arguments["signature_version"] = UNSIGNED
        config = Config(
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.stall_timeout_s,
            retries={"total_max_attempts": n_attempts(options), "mode": "standard"},
            max_pool_connections=2 * options.max_objects,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="starskope",
            **arguments,
        )
        try:
            session = boto3.session.Session(profile_name=options.profile)
            self._s3 = session.client("s3", region_name=options.region, endpoint_url=endpoint_url, config=config)
        except (boto.BotoCoreError, ValueError) as error:
            raise TransferError(f"cannot open an S3 client for {endpoint_url or 'AWS'}: {error}") from error
        # Never the manager in C: it takes its settings elsewhere, this one's patience is told above.
        settings = TransferConfig(
            multipart_threshold=_PART_BYTES,
            multipart_chunksize=_PART_BYTES,
            max_concurrency=options.max_objects,
            preferred_transfer_client="classic",
        )
        self._manager = create_transfer_manager(self._s3, settings)
        self._where = Client(s3=self._s3, options=options, endpoint=str(self._s3.meta.endpoint_url))
        self.rng = self._where.rng

    def close(self) -> None:
        """End what is under way, and with it its unfinished parts on the server; close the connections."""
        self._manager.shutdown(cancel=True)
        self._s3.close()

    def check_writable(self, destination: Destination) -> None:
        """Make sure, before anything is computed or sent, that the bucket exists and may be written.

        Raises
        ------
        TransferError
            Naming the destination, the cause and the remedy.

        Notes
        -----
        An upload in parts is begun and given up: S3 asks for the same permission as for writing an object, and none
        appears.
        """
        key = f"{destination.prefix}.starskope"
        arguments = {"Bucket": destination.bucket, "Key": key, **self._payer}
        try:
            begun = self._s3.create_multipart_upload(**arguments)
        except NETWORK_ERRORS as error:
            text = self.explain(error, destination.bucket).text
            raise TransferError(f"cannot write to {destination}: {text}", {str(destination): text}) from error
        try:
            self._s3.abort_multipart_upload(**arguments, UploadId=begun["UploadId"])
        except NETWORK_ERRORS:
            return  # An upload without parts takes no room.

    def foreign_key(self, bucket: str, prefix: str, known: frozenset[str]) -> str | None:
        """Return the first key under a prefix that is not among the known ones; None where listing is not allowed."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": len(known) + 1}, **self._payer
        )
        try:
            keys = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
            return next((key for key in keys if key not in known), None)
        except boto.ClientError:
            return None

    def head(self, uri: S3Uri) -> Mapping[str, Any] | None:
        """Return what the server says of an object; None when there is none or it may not be told."""
        try:
            answer: Mapping[str, Any] = self._s3.head_object(
                Bucket=uri.bucket, Key=uri.key, ChecksumMode="ENABLED", **self._payer
            )
        except boto.ClientError as error:
            # Without permission to list, S3 says 403 for a key that does not exist.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return None
            raise
        return answer

    def part_bytes(self, size: int) -> int | None:
        """Return the bytes of a part for a file of this size, None when it is sent in one request."""
        if size < _PART_BYTES:
            return None
        part_bytes = _PART_BYTES
        while size > _MAX_PARTS * part_bytes:  # as the managed transfer does
            part_bytes *= 2
        return part_bytes

    def drop_unfinished(self, uri: S3Uri) -> None:
        """Give up uploads in parts of this very object that were killed: their parts cost money until then."""
        try:
            answer = self._s3.list_multipart_uploads(Bucket=uri.bucket, Prefix=uri.key, MaxUploads=100)
            for upload in answer.get("Uploads", ()):
                if upload["Key"] == uri.key:
                    self._s3.abort_multipart_upload(Bucket=uri.bucket, Key=uri.key, UploadId=upload["UploadId"])
        except NETWORK_ERRORS:
            return  # Who may write need not be allowed to list or to give up.

    def send(self, outgoing: Outgoing, sums: FileSums, note: Callable[[int], None]) -> Any:
        """Begin to send a file and return the future of it; the server is told the sum and refuses other bytes."""
        from boto3.s3.transfer import ProgressCallbackInvoker

        extra = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumCRC64NVME": sums.crc64nvme, **self._payer}
        return self._manager.upload(
            str(outgoing.path),
            outgoing.uri.bucket,
            outgoing.uri.key,
            extra_args=extra,
            subscribers=[ProgressCallbackInvoker(note)],
        )

    def read_back(self, uri: S3Uri, sums: FileSums) -> bool:
        """Read an object and tell whether it holds the bytes with these sums."""
        running, n_bytes = running_sum("crc64nvme"), 0
        answer = self._s3.get_object(Bucket=uri.bucket, Key=uri.key, **self._payer)
        with answer["Body"] as body:
            while n_bytes <= sums.size and (chunk := body.read(_READ_STEP_BYTES)):
                running.update(chunk)
                n_bytes += len(chunk)
        return n_bytes == sums.size and running.result() == sums.crc64nvme

    def explain(self, error: BaseException, bucket: str) -> Fault:
        """Translate an exception of a request that writes."""
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            text = (
                "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile "
                "of the AWS configuration"
            )
            return Fault(text, retry=False)
        if not isinstance(error, boto.ClientError):
            return explain(error, self._where, bucket)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", status))[:60]
        at = f"at {self._where.endpoint} ({status} {code})"
        if code in _BAD_CREDENTIALS:
            return Fault(
                f"the credentials are not accepted {at}: check the profile, or the AWS_* variables", False, code
            )
        if code in {"ExpiredToken", "RequestExpired", "ExpiredTokenException"}:
            return Fault(f"the credentials have expired {at}: renew them", False, code)
        if code == "RequestTimeTooSkewed":
            return Fault(f"the clocks differ too much {at}: set this machine's", False, code)
        if code == "NoSuchBucket" or (status == 404 and code == "404"):
            return Fault(f"no bucket {bucket!r} {at}: make it first, or check name and endpoint", False, code)
        if status in (401, 403):
            needs = "s3:PutObject, and s3:GetObject for what is checked"
            return Fault(f"the credentials in use may not write there, {at}: they need {needs}", False, code)
        return explain(error, self._where, bucket)

    @property
    def _payer(self) -> dict[str, str]:
        return {"RequestPayer": "requester"} if self.options.request_payer else {}


def n_attempts(options: TransferOptions) -> int:
    """Return how often botocore may try a request, such that a server which never answers is given up in time."""
    return max(1, min(options.max_attempts, int(options.retry_seconds // options.stall_timeout_s)))
