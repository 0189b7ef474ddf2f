"""What building adds to the package: Swagger UI and ReDoc, so that their pages work without a network.

They come out of the PyPI package drf-spectacular-sidecar, which is needed to build Stepwell and never to run it; so
nobody's JavaScript is kept in this repository, and a newer version is a number in pyproject.toml.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SIDECAR: Final = "drf-spectacular-sidecar"
_STATIC: Final = "drf_spectacular_sidecar/static/drf_spectacular_sidecar"
_FILES: Final = {
    "swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui.LICENSE.txt": "swagger-ui-dist/LICENSE",
    "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "redoc.standalone.js": "redoc/bundles/redoc.standalone.js",
    "redoc.LICENSE.txt": "redoc/LICENSE",
    "redoc.standalone.js.LICENSE.txt": "redoc/bundles/redoc.standalone.js.LICENSE.txt",
}
"""What becomes a file of ours, and where it is in the package."""
_ELSEWHERE: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
"""The one thing that ReDoc would load from another host: a logo. An empty image stands in for it."""


class Assets(BuildHookInterface[Any]):
    """Copies the files into ``stepwell/server/assets``, also for installs that are worked on in place."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds a wheel; ``version`` is ``standard`` or ``editable``."""
        installed = importlib.metadata.distribution(_SIDECAR)
        assets = Path(self.root, "stepwell", "server", "assets")
        assets.mkdir(exist_ok=True)
        for name, origin in _FILES.items():
            shutil.copyfile(Path(str(installed.locate_file(f"{_STATIC}/{origin}"))), assets / name)
        redoc = assets / "redoc.standalone.js"
        bundle = redoc.read_bytes()
        if bundle.count(_ELSEWHERE) != 1:
            raise RuntimeError(f"{_SIDECAR} has changed: look what its ReDoc loads from other hosts")
        redoc.write_bytes(bundle.replace(_ELSEWHERE, b"data:,"))
        if version != "editable":
            build_data["artifacts"].append("/stepwell/server/assets/*")
