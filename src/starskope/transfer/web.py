"""Clients for addresses of every kind: S3's own, and one per web server.

Owns the choice which client reads an address. Refuses lists that mix S3 and web servers, which one set of options does
not describe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from starskope.transfer.client import Client, open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.uris import S3Uri
from starskope.transfer.weburi import WebUri

__all__ = ["open_clients"]


@asynccontextmanager
async def open_clients(
    uris: Iterable[S3Uri], options: TransferOptions | None = None
) -> AsyncIterator[Callable[[S3Uri], Client]]:
    """Open what reads these addresses, and close all connections at the end.

    Parameters
    ----------
    uris : iterable of S3Uri or WebUri
        From `starskope.transfer.weburi.parse_uri`; all of one kind.
    options : TransferOptions, optional
        Endpoint and signing are S3's alone; patience and pace are for both.

    Yields
    ------
    callable
        From an address to the `Client` that reads it, for `read_range` and `fetch`.

    Raises
    ------
    ValueError
        Both kinds, one of each named.
    TransferError
        The S3 client cannot be opened, or the certificates cannot be read.

    Examples
    --------
    >>> from starskope.transfer.ranged import read_range
    >>> from starskope.transfer.weburi import parse_uri
    >>> async def first_card(address: str) -> bytes:
    ...     uri = parse_uri(address)
    ...     async with open_clients([uri]) as client_of:
    ...         return (await read_range(client_of(uri), uri, 0, 80)).data
    """
    kinds = {isinstance(uri, WebUri): uri for uri in uris}
    if len(kinds) > 1:
        raise ValueError(f"{kinds[False]} is in S3 and {kinds[True]} on a web server: read them apart")
    if True not in kinds:
        async with open_client(options) as client:
            yield lambda _: client
        return
    from starskope.transfer.webfiles import WebFiles

    options = options or TransferOptions()
    files = WebFiles(options)
    clients: dict[str, Client] = {}

    def client_of(uri: S3Uri) -> Client:
        if uri.bucket not in clients:
            clients[uri.bucket] = Client(s3=files, options=options, endpoint=uri.bucket)
        return clients[uri.bucket]

    await files.open()
    try:
        yield client_of
    finally:
        await files.close()
