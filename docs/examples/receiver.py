"""Takes Hashwarden's webhooks: verifies signatures by the standard-webhooks scheme, applies each message once."""

import base64
import hmac
import json
import os
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

# The secret, or the old and the new one while it is changed, with a space between.
SECRETS = [base64.b64decode(each.removeprefix("whsec_")) for each in os.environ["WEBHOOK_SECRETS"].split()]
TOLERANCE = 300  # seconds
APPLIED: set[str] = set()  # ids of messages; in production a table of yours
NEWEST: dict[int, datetime] = {}  # by upload; another one


def is_signed(message_id: str, at: str, given: str, body: bytes) -> bool:
    """Whether one of the signatures is by one of the secrets, and not of another time."""
    if not (at.isascii() and at.isdecimal() and abs(time.time() - int(at)) <= TOLERANCE):
        return False
    signed = f"{message_id}.{at}.".encode() + body
    right = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in SECRETS]
    return any(hmac.compare_digest(one.encode(), other) for one in given.split() for other in right)


def apply(event: dict[str, Any]) -> None:
    """Brings your own records up to date."""
    at, upload_id = datetime.fromisoformat(event["timestamp"]), event["data"].get("upload_id")
    if upload_id is not None:
        if at < NEWEST.get(upload_id, at):
            return  # an older event that was retried
        NEWEST[upload_id] = at
    print(event["type"], json.dumps(event["data"]), flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 65536))
        message_id, at, given = (
            self.headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
        )
        signed = is_signed(message_id, at, given, body)
        if signed and message_id not in APPLIED:
            apply(json.loads(body))
            APPLIED.add(message_id)  # commit both before you answer: a 2xx ends the retries
        self.send_response(204 if signed else 401)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8799"))), Receiver).serve_forever()
