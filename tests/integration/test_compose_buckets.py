"""docker/buckets.py makes the buckets of the compose file, with versions, and changes nothing when it runs again."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

from config.object_store import make_client
from config.settings import StorageSettings
from worker.demo.embedded import ACCESS_KEY, SECRET_KEY, Embedded

SCRIPT = Path(__file__).parents[2] / "docker/buckets.py"


def test_the_buckets_are_made_once_and_have_versions(embedded: Embedded) -> None:
    bucket = f"uploads-{uuid.uuid4().hex[:8]}"
    told = {
        "HASHWARDEN_STORAGE__ENDPOINT_URL": embedded.s3_endpoint,
        "HASHWARDEN_STORAGE__ACCESS_KEY": ACCESS_KEY,
        "HASHWARDEN_STORAGE__SECRET_KEY": SECRET_KEY,
        "HASHWARDEN_STORAGE__BUCKETS": f'["{bucket}"]',
    }
    for _ in range(2):
        ended = subprocess.run(  # noqa: S603 (our own script)
            [sys.executable, "-P", SCRIPT],
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == f"Bucket {bucket} is there, with versions.\n"
    client = make_client(
        StorageSettings.model_validate(
            {"endpoint_url": embedded.s3_endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        )
    )
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
