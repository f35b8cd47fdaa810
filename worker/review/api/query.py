"""The query of an address: a name that an operation does not know, or one that comes twice, is told and not ignored."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute


def known_query(request: Request) -> None:
    """A dependency of every operation: a slip in `cursor` must not read the first page over and over."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)  # noqa: S101 (it stands before operations alone)
    known = {field.alias for field in route.dependant.query_params}
    names = [name for name, _ in request.query_params.multi_items()]
    faults = [
        {
            "loc": ("query", name),
            "msg": "it is given twice" if name in known else "this operation knows no such name",
        }
        for name in dict.fromkeys(names)
        if name not in known or names.count(name) > 1
    ]
    if faults:
        raise RequestValidationError(faults)
