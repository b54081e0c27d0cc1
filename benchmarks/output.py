"""What every benchmark prints at the end: one line of JSON, also written to ``--json FILE``."""

import argparse
import json
import os
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
    facts = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
    }
    line = json.dumps({**result, **facts})
    if path is not None:
        path.write_text(line + "\n", encoding="utf-8")
    print(line)
