"""The step types that installed packages bring.

A package names them in the entry point group ``stepwell.step_types``, each as ``name = package.module:function``.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from typing import Any, Final

GROUP: Final = "stepwell.step_types"


@functools.cache
def installed_types() -> Mapping[str, tuple[Any, ...]]:
    """The entry points of installed packages by name. Reads their metadata, imports none of them."""
    if not _some_bring_types():
        return {}
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms, with the packages that it imports

    found: dict[str, tuple[Any, ...]] = {}
    for point in entry_points(group=GROUP):
        others = found.get(point.name, ())
        if all(point.value != other.value for other in others):  # one and the same, found twice on the path
            found[point.name] = (*others, point)
    return found


def _some_bring_types() -> bool:
    """Whether any package that is installed may name our group.

    Each process that runs steps asks, and few installations have such a package. So the files are looked through for
    the group's name first, without what reads them properly. Where packages may be elsewhere than in directories of
    the path, this cannot tell, and says so by True.
    """
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if finders != [PathFinder]:
        return True
    try:
        return any(map(_may_bring_types, dict.fromkeys(sys.path)))
    except OSError:  # not a directory, such as an archive; or one that cannot be read
        return True


def _may_bring_types(directory: str) -> bool:
    """Whether any package of a directory may name our group.

    Raises:
        OSError: It cannot be looked through.
    """
    try:
        names = os.listdir(directory or os.curdir)  # noqa: PTH208 - text, and hundreds of them
    except FileNotFoundError:
        return False
    for name in names:
        if name.lower().endswith("-info"):  # NAME.dist-info, NAME.egg-info, and EGG-INFO of an egg
            try:
                with open(os.path.join(directory, name, "entry_points.txt"), "rb") as file:  # noqa: PTH118, PTH123
                    if GROUP.encode() in file.read():
                        return True
            except (FileNotFoundError, NotADirectoryError):  # most name nothing; some are files themselves
                continue
    return False
