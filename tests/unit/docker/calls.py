"""Which S3 and SQS operations the code calls, read from its syntax: by method, and by what a method calls in turn."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import boto3

ROOT = Path(__file__).parents[3]
_CLIENTS = {"client", "_client"}
_OWN = {"self", "store", "probe"}
"""What a call's method is looked up on, among the functions that were read."""


@cache
def operations_of(*paths: str) -> dict[str, set[str]]:
    """The operations that each function of these files reaches, by name; those of one name are taken together."""
    own: dict[str, set[str]] = {}
    calls: dict[str, set[str]] = {}
    for path in paths:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                own.setdefault(function.name, set()).update(_operations(function))
                calls.setdefault(function.name, set()).update(_called(function))
    return {name: _closure(name, own, calls) for name in own}


@cache
def all_operations(*paths: str) -> set[str]:
    return {
        each for path in paths for each in _operations(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    }


@cache
def store_calls(path: str) -> set[str]:
    """What a file calls on its object store, or with it: `open` of `store.open()`, `preserve` of `preserve(store)`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and _is_store(node.func.value):
            found.add(node.func.attr)
        if isinstance(node.func, ast.Name) and any(_is_store(argument) for argument in node.args):
            found.add(node.func.id)
    return found


@cache
def files_with_a_client() -> set[str]:
    """Files that call an operation of S3 or SQS."""
    names = {str(path.relative_to(ROOT)) for path in _sources()}
    return {name for name in names if all_operations(name)}


@cache
def files_with_a_store() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in _sources()
        if store_calls(str(path.relative_to(ROOT))) - {"close"}
    }


def _sources() -> Iterable[Path]:
    for room in ("config", "bank_sync", "worker"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.relative_to(ROOT).parts[:2] not in {("worker", "demo"), ("worker", "bench")}:
                yield path


@cache
def _known() -> frozenset[str]:
    """What clients of S3 and SQS can do: others, of Redis and HTTP, are named alike."""
    clients = [boto3.client(service, region_name="us-east-1") for service in ("s3", "sqs")]
    return frozenset({"upload_file"}.union(*(client.meta.method_to_api_mapping for client in clients)))


def _is_store(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in {"store", "_store"}
    return isinstance(node, ast.Name) and node.id == "store"


def _operations(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        value = node.func.value
        holder = (
            value.attr
            if isinstance(value, ast.Attribute)
            else value.id
            if isinstance(value, ast.Name)
            else ""
        )
        if holder not in _CLIENTS:
            continue
        if node.func.attr == "get_paginator":
            assert isinstance(node.args[0], ast.Constant)
            found.add(str(node.args[0].value))
        elif node.func.attr in _known():
            found.add(node.func.attr)
    return found


def _called(function: ast.FunctionDef) -> set[str]:
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                if isinstance(node.func.value, ast.Name) and node.func.value.id in _OWN:
                    found.add(node.func.attr)
            elif isinstance(node.func, ast.Name):
                found.add(node.func.id)
    return found


def _closure(name: str, own: dict[str, set[str]], calls: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in seen and each in own:
            seen.add(each)
            waiting += calls[each]
    return set().union(*(own[each] for each in seen))
