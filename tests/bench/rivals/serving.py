"""How a library under comparison is driven: jobs come as lines of JSON on stdin, answers go out as lines on stdout.

A job names a file of frames, ``receive time in µs <TAB> frame`` a line, and the REST answers that local books start
from. Runs in the libraries' own environment, hence without a module of the product. Only the handling of the frames
is timed; they are read, and turned into the text that the library's socket would hand over, before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Frames = list[tuple[float, str]]
"""Receive time in Unix seconds, and text."""
Handle = Callable[[dict[str, Any], Frames], dict[str, Any]]


def read(path: str) -> Frames:
    frames = []
    for line in Path(path).read_text().splitlines():
        received, _, frame = line.partition("\t")
        frames.append((int(received) / 1e6, frame))
    return frames


def serve(handle: Handle) -> None:
    """Answer each job with what ``handle`` returns, or with the error that it raised."""
    loaded: dict[str, Frames] = {}
    for line in sys.stdin:
        job = json.loads(line)
        path = job["frames"]
        if path not in loaded:
            loaded = {path: read(path)}
        try:
            answer = handle(job, loaded[path])
        except Exception as error:  # whatever a library raises is its result, and goes into the report
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)
