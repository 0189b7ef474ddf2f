"""Write the golden files that are missing: ``python -m tests.golden.make``. Existing ones are never touched."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.golden.values import files

HERE = Path(__file__).parent


def main() -> int:
    """Write what is missing; name what would come out otherwise today."""
    changed = []
    for name, value in sorted(files().items()):
        path = HERE / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
            sys.stdout.write(f"wrote {name}\n")
        elif path.read_bytes() != value:
            changed.append(name)
    for name in changed:
        reason = "logs that hold such bytes exist; give the entry a new name"
        sys.stderr.write(f"refused to overwrite {name}: {reason}\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
