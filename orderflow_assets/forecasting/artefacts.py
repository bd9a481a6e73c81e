"""Stored models: folders named by the hash of what is in them, written whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


class Artefacts:
    """The folders under ``folder/artefacts``; what is being written lies beside them under another name."""

    def __init__(self, folder: Path) -> None:
        self._staging, self._stored = folder, folder / "artefacts"
        self._stored.mkdir(parents=True, exist_ok=True)

    def store(self, save: Callable[[Path], None], owner: str) -> str:
        """Keep what ``save`` writes into the folder it is given; returns its SHA-256."""
        staged = Path(tempfile.mkdtemp(prefix=f"staged-{owner}-", dir=self._staging))
        try:
            save(staged)
            digest = hash_folder(staged)
            final = self._stored / digest
            if not final.exists():
                staged.rename(final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return digest

    def sweep(self, owner: str) -> None:
        """Remove what ``owner`` began to write and was killed before it was whole."""
        for staged in self._staging.glob(f"staged-{owner}-*"):
            shutil.rmtree(staged, ignore_errors=True)

    def verified(self, digest: str) -> Path | None:
        """The folder of a stored model; None where it is missing or is not what was stored."""
        folder = self._stored / digest
        return folder if folder.is_dir() and hash_folder(folder) == digest else None

    def remove(self, digest: str) -> None:
        shutil.rmtree(self._stored / digest, ignore_errors=True)


def hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below ``folder``."""
    hasher = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        hasher.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return hasher.hexdigest()
