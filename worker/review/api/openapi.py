"""The description of the API by OpenAPI 3.1, made from its operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from worker.review.api.bearer import Needs
from worker.review.api.problems import MEDIA_TYPE, Problem
from worker.review.people.permissions import May

VERSION = "1"

ANY_TOKEN = "token"  # noqa: S105 (a word of the description)
"""`x-needs` of what every token may."""

_WORDS = """What the pages of the console do, for programs.

Every operation needs a token of a person or a service; `x-needs` names the permission that its roles must have, and is
`token` where any will do. What was not done is answered by a problem (RFC 9457) with a stable `code` and the next step.
Times are UTC, ids are of this system alone. Nothing here names a hash, a bank entry or a case of a bank, but for the
prepared report of a suspected minor, which has the SHA-256 of its files.
"""

_ALWAYS = {
    401: "No token came, or one that lets nobody in.",
    403: "The roles of this token do not allow this.",
    413: "The body is too long.",
    422: "The request was not understood; `faults` says what.",
    429: "Too many wrong tokens came from this address, or enough was looked at for now.",
    503: "The database can't be reached; nothing was changed.",
}
"""What every operation may answer."""


def describe(api: FastAPI, where: str) -> dict[str, Any]:
    """The whole document. `where` is the address under which the API is mounted."""
    _, definitions = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    document = get_openapi(
        title="Hashwarden",
        version=VERSION,
        description=_WORDS,
        routes=api.routes,
        servers=[{"url": where}],
        separate_input_output_schemas=False,
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= definitions["$defs"]
    for route in operations(api.routes):
        for method in route.methods or ():
            operation = document["paths"][route.path][method.lower()]
            what = needed(route)
            operation["x-needs"] = what.value if what is not None else ANY_TOKEN
            _add_problems(operation["responses"], named="{" in route.path)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _add_problems(responses: dict[str, Any], *, named: bool) -> None:
    """`named`: the address holds an id, and one with a slash in it makes another address."""
    told = {int(status): each["description"] for status, each in responses.items() if int(status) >= 400}
    told.pop(422, None)
    if named:
        told.setdefault(404, "There is no such address.")
    for status, words in sorted((_ALWAYS | told).items()):
        responses[str(status)] = {
            "description": words or HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def operations(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """The operations among routes, those of included routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            if route.include_in_schema:
                yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from operations(router.routes)


def needed(route: APIRoute) -> May | None:
    """What an operation asks for; None: nothing but a token, as it is about the caller alone."""
    asked = [each.dependency.what for each in route.dependencies if isinstance(each.dependency, Needs)]
    return asked[0] if asked else None
