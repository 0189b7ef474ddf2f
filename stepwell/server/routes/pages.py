"""The description of the API, and two pages that show it without ever loading anything from elsewhere.

Swagger UI and ReDoc ship inside the wheel: ``hatch_build.py`` puts them into ``assets`` when it is built.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from typing import Any, Final

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath

from stepwell.server.access import PUBLIC, requires
from stepwell.server.http.problems import RefusedError

_HERE: Final = "stepwell.server"
_KINDS: Final = {"js": "text/javascript", "css": "text/css", "txt": "text/plain"}
_HEADERS: Final = {
    # Both write styles into the page and draw small images; ReDoc searches in a worker that it makes itself.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_DOCS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stepwell API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="assets/swagger-ui-bundle.js"></script>
<script src="assets/docs.js"></script>
</body>
</html>
"""
_REDOC: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stepwell API</title>
<link rel="icon" href="data:,">
<style>body { margin: 0 }</style>
</head>
<body>
<div id="docs"></div>
<script src="assets/redoc.standalone.js"></script>
<script src="assets/redoc-page.js"></script>
</body>
</html>
"""


def pages(describe: Callable[[], dict[str, Any]]) -> Router:
    """The routes of the description and of the pages.

    Args:
        describe: Makes the description; asked once, when somebody first wants it.
    """
    described = functools.cache(lambda: msgspec.json.encode(describe()))

    @get("/openapi.json", sync_to_thread=False)
    def openapi() -> Response[bytes]:
        """The OpenAPI description."""
        return Response(described(), media_type="application/vnd.oai.openapi+json", headers=_HEADERS)

    return Router(
        "/", route_handlers=[openapi, docs, redoc, asset], guards=[requires(PUBLIC)], include_in_schema=False
    )


@get("/docs", sync_to_thread=False)
def docs() -> Response[str]:
    """Swagger UI."""
    return Response(_DOCS, media_type="text/html", headers=_HEADERS)


@get("/redoc", sync_to_thread=False)
def redoc() -> Response[str]:
    """ReDoc."""
    return Response(_REDOC, media_type="text/html", headers=_HEADERS)


@get("/assets/{name:str}", sync_to_thread=False)
def asset(name: FromPath[str]) -> Response[bytes]:
    """A file of one of the pages."""
    content = _assets().get(name)
    if content is None:
        raise RefusedError(
            HTTPStatus.NOT_FOUND,
            "there is no such file",
            place=name,
            remedy="If /docs stays empty, Stepwell was not built with its pages: install it anew.",
        )
    kind = _KINDS[name.rpartition(".")[2]]
    headers = {**_HEADERS, "Cache-Control": "max-age=3600"}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


@functools.cache
def _assets() -> dict[str, bytes]:
    """Every file of the pages by name: there are few, and none but these is ever read."""
    found = {}
    for folder in ("assets", "scripts"):
        directory = resources.files(_HERE).joinpath(folder)
        if directory.is_dir():
            for entry in directory.iterdir():
                if entry.name.rpartition(".")[2] in _KINDS:
                    found[entry.name] = entry.read_bytes()
    return found
