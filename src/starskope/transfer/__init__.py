"""Verified bytes from S3: client, listing, one ranged read, pacing, checks, manifest, download, sync facade.

This room is the only one that imports aiobotocore. It knows keys and bytes; it refuses to know FITS.
"""
