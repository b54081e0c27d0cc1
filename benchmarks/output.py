"""What every benchmark prints at the end: one line of JSON, also written to ``--json FILE``."""

import argparse
import json
import platform
from pathlib import Path
from typing import Any


def parser(description: str) -> argparse.ArgumentParser:
    """A parser that knows ``--json``."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, help="also write the last line to this file")
    return made


def finish(result: dict[str, Any], path: Path | None) -> None:
    """Print the result as one line of JSON and write it where asked."""
    line = json.dumps(
        {**result, "machine": platform.machine(), "python": platform.python_version()}
    )
    if path is not None:
        path.write_text(line + "\n", encoding="utf-8")
    print(line)
