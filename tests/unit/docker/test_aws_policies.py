"""docker/aws: a role may do what its code calls and nothing else, and no bucket denies it what others are denied."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.docker.calls import (
    ROOT,
    all_operations,
    files_with_a_client,
    files_with_a_store,
    operations_of,
    store_calls,
)
from worker.act import TAG, TAG_OF_STATE
from worker.domain import State

AWS = ROOT / "docker/aws"
PAGE = (ROOT / "docs/how-to/connect-s3-events.md").read_text(encoding="utf-8")
UPLOADS, QUARANTINE, MINORS, EPOCHS = (
    "uploads",
    "hashwarden-quarantine",
    "hashwarden-minors",
    "hashwarden-epochs",
)

_READ = {"s3:GetObject", "s3:GetObjectVersion"}
_TAGS = {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"}
ACTIONS = {
    "get_bucket_versioning": {"s3:GetBucketVersioning"},
    "get_bucket_policy_status": {"s3:GetBucketPolicyStatus"},
    "get_bucket_acl": {"s3:GetBucketAcl"},
    # Without s3:ListBucket a missing key is answered 403, and what is gone looks like a refusal.
    "head_object": {*_READ, "s3:ListBucket"},
    "get_object": {*_READ, "s3:ListBucket"},
    "list_object_versions": {"s3:ListBucketVersions"},
    "list_objects_v2": {"s3:ListBucket"},
    "delete_object": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "copy_object": {*_READ, *_TAGS, "s3:PutObject", "s3:PutObjectTagging"},
    "put_object": {"s3:PutObject"},
    "get_object_tagging": _TAGS,
    "put_object_tagging": {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"},
    "receive_message": {"sqs:ReceiveMessage"},
    "delete_message_batch": {"sqs:DeleteMessage"},
    "get_queue_attributes": {"sqs:GetQueueAttributes"},
}
"""What an operation asks of AWS (Service Authorization Reference, "Actions, resources and condition keys")."""

OF_EPOCHS = {
    # No version is ever named there.
    "get_object": {"s3:GetObject", "s3:ListBucket"},
    "delete_object": {"s3:DeleteObject"},
    "put_object": {"s3:PutObject"},
    "list_objects_v2": {"s3:ListBucket"},
    # In parts over 8 MiB; parts of one that failed are taken away again.
    "upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
}

STORE = (
    "worker/storage/s3.py",
    "worker/storage/access.py",
    "worker/storage/preserve.py",
    "worker/storage/probe.py",
)
DOCTOR = tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "worker/operate").glob("doctor*.py")))
FILES = {
    "worker": ("worker/fetch.py", "worker/pipeline.py", "worker/act.py"),
    "ingest": ("worker/events/inbox.py",),
    "inbox-app": ("worker/push/items.py", "worker/events/inbox.py"),
    "sweep": ("worker/events/sweep.py", "worker/events/inbox.py"),
    "dispatch": ("worker/preservation.py",),
    "review-app": ("worker/review/reveal/reveals.py", "worker/fetch.py"),
    "bank-sync": (),
    "doctor": DOCTOR,
}
"""Where each role uses the object store."""

QUEUE = {"ingest": ("worker/events/sqs.py",), "doctor": DOCTOR}
PUBLISHERS = {"dispatch", "bank-sync"}
READERS = {"worker", "doctor"}

Policy = list[dict[str, Any]]


def _policy(name: str) -> Policy:
    text = (AWS / f"{name}.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["Version"] == "2012-10-17"
    statements: Policy = document["Statement"]
    return statements


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _needed(role: str) -> set[str]:
    methods = operations_of(*STORE)
    called = {method for path in FILES[role] for method in store_calls(path)} & set(methods)
    operations = {operation for method in called for operation in methods[method]}
    if role == "doctor":
        operations |= all_operations(*DOCTOR)
    for path in QUEUE.get(role, ()):
        operations |= all_operations(path)
    needed = {action for operation in operations for action in ACTIONS[operation]}
    replica = operations_of("bank_sync/replica.py")
    epochs: set[str] = set()
    if role in PUBLISHERS:
        epochs = all_operations("bank_sync/replica.py") | {"upload_file"}
    elif role in READERS:
        epochs = replica["pull"] | replica["mend"]
    return needed | {action for operation in epochs for action in OF_EPOCHS[operation]}


def test_every_call_of_a_client_is_known_here() -> None:
    assert files_with_a_client() - {*DOCTOR} == {
        "bank_sync/replica.py",
        "worker/events/sqs.py",
        "worker/storage/s3.py",
    }
    elsewhere = all_operations(*(files_with_a_client() - {"bank_sync/replica.py"}))
    assert elsewhere == set(ACTIONS)
    assert all_operations("bank_sync/replica.py") == set(OF_EPOCHS)


def test_every_use_of_the_store_belongs_to_a_role() -> None:
    users = {
        path
        for path in files_with_a_store()
        if store_calls(path) & set(operations_of(*STORE)) and path not in STORE
    }
    assert users == {path for paths in FILES.values() for path in paths} & users


@pytest.mark.parametrize("role", FILES)
def test_a_role_may_do_what_its_code_calls_and_nothing_else(role: str) -> None:
    statements = _policy(f"roles/{role}")
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    allowed = {action for statement in statements for action in _list(statement["Action"])}
    assert allowed == _needed(role)
    assert not [action for action in allowed if "*" in action]


@pytest.mark.parametrize("role", FILES)
def test_a_role_s_actions_fit_its_resources(role: str) -> None:
    for statement in _policy(f"roles/{role}"):
        for resource in _list(statement["Resource"]):
            assert re.match(r"arn:aws:(s3:::[a-z-]+(/\S+)?|sqs:REGION:ACCOUNT:[a-z-]+)$", resource)
            of_objects = "/" in resource
            for action in _list(statement["Action"]):
                assert ("Object" in action or "Multipart" in action) == of_objects, (action, resource)


def test_every_role_has_a_policy_that_aws_takes() -> None:
    assert {path.stem for path in (AWS / "roles").glob("*.json")} == set(FILES)
    for path in AWS.rglob("*.json"):
        compact = json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"))
        # IAM and AWS STS quotas: 6,144 characters of a managed policy; S3: 20 kB of a bucket's.
        assert len(compact) < (6_144 if path.parent.name == "roles" else 20_000)
        sids = [statement["Sid"] for statement in json.loads(compact)["Statement"]]
        assert len(set(sids)) == len(sids)
        assert all(sid.isalnum() for sid in sids)


def _holds(condition: dict[str, dict[str, Any]], context: dict[str, Any]) -> bool:
    """Whether a condition block holds: all its operators, each key of each (IAM user guide, "Condition operators")."""
    return all(
        _one_holds(operator, context.get(key), _list(wanted))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _one_holds(operator: str, there: Any, values: list[str]) -> bool:  # noqa: ANN401 (values of any kind)
    match operator:
        case "Null":
            return (there is None) == (values == ["true"])
        case "Bool" | "ArnEquals" | "StringEquals":
            return there in values
        case "ArnNotEquals" | "StringNotEquals":
            # A key that is missing differs from every value.
            return there not in values
        case "ForAnyValue:StringEquals":
            return bool(set(there or ()) & set(values))
        case _:
            raise AssertionError(f"no condition operator {operator} is known here")


PLATFORM = "arn:aws:iam::ACCOUNT:role/platform"
PHOTO = f"arn:aws:s3:::{UPLOADS}/user/1.jpg"


def _arn(role: str) -> str:
    return f"arn:aws:iam::ACCOUNT:role/hashwarden-{role}"


def _denied_to(who: str, name: str, action: str, resource: str, **more: Any) -> list[str]:  # noqa: ANN401
    context = {"aws:PrincipalArn": who, "aws:SecureTransport": "true", **more}
    return [
        statement["Sid"]
        for statement in _policy(name)
        if statement["Effect"] == "Deny"
        and any(fnmatch.fnmatchcase(action, pattern) for pattern in _list(statement["Action"]))
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), context)
    ]


RESOURCE_POLICIES = {
    UPLOADS: ["uploads-bucket", "uploads-bucket-after-scan"],
    QUARANTINE: ["quarantine-bucket"],
    MINORS: ["minors-bucket"],
    EPOCHS: ["epochs-bucket"],
}


@pytest.mark.parametrize("role", FILES)
def test_what_a_role_may_do_no_bucket_denies_to_it(role: str) -> None:
    for statement in _policy(f"roles/{role}"):
        for resource in _list(statement["Resource"]):
            names = (
                ["queue"]
                if ":sqs:" in resource
                else RESOURCE_POLICIES[resource.split(":::")[1].split("/")[0]]
            )
            for name in names:
                for action in _list(statement["Action"]):
                    asked = resource.replace("*", "x")
                    more = {"s3:x-amz-server-side-encryption": "AES256"} if action == "s3:PutObject" else {}
                    assert _denied_to(_arn(role), name, action, asked, **more) == [], (role, name, action)


@pytest.mark.parametrize("name", ["uploads-bucket", "uploads-bucket-after-scan"])
def test_only_hashwarden_reaches_what_lies_beneath_a_delete_marker(name: str) -> None:
    assert _denied_to(PLATFORM, name, "s3:GetObjectVersion", PHOTO)
    assert _denied_to(PLATFORM, name, "s3:DeleteObjectVersion", PHOTO)
    assert not _denied_to(_arn("worker"), name, "s3:DeleteObjectVersion", PHOTO)


@pytest.mark.parametrize("name", ["uploads-bucket", "uploads-bucket-after-scan"])
def test_nobody_else_says_that_an_upload_was_scanned(name: str) -> None:
    clear = {"s3:RequestObjectTagKeys": ["album", TAG]}
    for action in ("s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"):
        assert _denied_to(PLATFORM, name, action, PHOTO, **clear)
        assert not _denied_to(_arn("worker"), name, action, PHOTO, **clear)
        assert not _denied_to(PLATFORM, name, action, PHOTO, **{"s3:RequestObjectTagKeys": ["album"]})
    # A set without our tag replaces one with it, and so does its deletion.
    held = {f"s3:ExistingObjectTag/{TAG}": "HELD"}
    for action in ("s3:PutObjectTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"):
        assert _denied_to(PLATFORM, name, action, PHOTO, **held)
        assert not _denied_to(PLATFORM, name, action, PHOTO)


@pytest.mark.parametrize("state", [None, *TAG_OF_STATE])
def test_after_scan_serves_what_was_cleared_and_nothing_else(state: State | None) -> None:
    tags = {f"s3:ExistingObjectTag/{TAG}": TAG_OF_STATE[state]} if state else {}
    served = state in {State.CLEAR, State.FLAGGED, State.RELEASED}
    name = "uploads-bucket-after-scan"
    assert (not _denied_to(PLATFORM, name, "s3:GetObject", PHOTO, **tags)) == served
    assert not _denied_to(_arn("worker"), name, "s3:GetObject", PHOTO, **tags)
    assert not _denied_to(PLATFORM, "uploads-bucket", "s3:GetObject", PHOTO, **tags)


@pytest.mark.parametrize(
    ("name", "bucket"),
    [("quarantine-bucket", QUARANTINE), ("minors-bucket", MINORS), ("epochs-bucket", EPOCHS)],
)
def test_a_private_bucket_is_closed_to_everybody_else(name: str, bucket: str) -> None:
    key = f"arn:aws:s3:::{bucket}/x"
    for action in (
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
    ):
        assert _denied_to(PLATFORM, name, action, key, **{"s3:x-amz-server-side-encryption": "AES256"})


def test_a_copy_of_a_suspected_minor_is_never_kept_unencrypted() -> None:
    copy = f"arn:aws:s3:::{MINORS}/case-1/file-1"
    assert _denied_to(_arn("dispatch"), "minors-bucket", "s3:PutObject", copy)


@pytest.mark.parametrize("name", ["queue", *(name for names in RESOURCE_POLICIES.values() for name in names)])
def test_nothing_is_asked_without_tls(name: str) -> None:
    service = "sqs" if name == "queue" else "s3"
    resource = _list(_policy(name)[-1]["Resource"])[-1].replace("*", "x")
    told = _denied_to(
        _arn("worker"), name, f"{service}:GetObject", resource, **{"aws:SecureTransport": "false"}
    )
    assert "DenyWithoutTls" in told


def test_the_queue_takes_from_the_bucket_of_this_account_alone() -> None:
    (allow,) = [statement for statement in _policy("queue") if statement["Effect"] == "Allow"]
    assert allow["Action"] == "sqs:SendMessage"
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    from_uploads = {"aws:SourceArn": f"arn:aws:s3:::{UPLOADS}", "aws:SourceAccount": "ACCOUNT"}
    assert _holds(allow["Condition"], from_uploads)
    assert not _holds(allow["Condition"], {**from_uploads, "aws:SourceAccount": "ANOTHER"})
    assert _denied_to(PLATFORM, "queue", "sqs:ReceiveMessage", allow["Resource"])


def test_the_page_of_permissions_names_no_action_that_is_not_here() -> None:
    told = set(re.findall(r"`((?:s3|sqs):[A-Z]\w+)`", PAGE.split("## Permissions")[1]))
    allowed = {
        action
        for path in AWS.rglob("*.json")
        for statement in json.loads(Path(path).read_text(encoding="utf-8"))["Statement"]
        for action in _list(statement["Action"])
    }
    assert told <= allowed
