"""Makes the buckets of docker/compose.yaml, with versions; for the S3 server beside it, not for a store of yours."""

from __future__ import annotations

import sys

from config.object_store import make_client
from config.settings import load_settings


def main() -> None:
    storage = load_settings().storage
    client = make_client(storage)
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for bucket in storage.buckets:
        if bucket not in there:
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        sys.stdout.write(f"Bucket {bucket} is there, with versions.\n")


if __name__ == "__main__":
    main()
