"""Where the weights of pretrained models are: a folder named here, the cache of the Hugging Face hub, or the hub."""

from __future__ import annotations

import os
from pathlib import Path

from orderflow_assets.forecasting.models.spec import ModelError, ModelSpec

FOLDER_SETTING = "ORDERFLOW_WEIGHTS"
"""Environment variable: a folder that holds one folder per model, named like the model."""

WEIGHTS_FILE = "model.safetensors"
_FILES = ("config.json", WEIGHTS_FILE)
_OFFLINE_SETTING = "HF_HUB_OFFLINE"
_ANSWER_WITHIN_S = 5.0


def find(spec: ModelSpec) -> Path | None:
    """The folder on this machine with the files of a model; None where there is none. Looks at no network."""
    if local := spec.parameters.get("local_dir"):
        return _whole(Path(local))
    configured = os.environ.get(FOLDER_SETTING)
    return (_whole(Path(configured) / spec.name) if configured else None) or _cached(spec)


def missing_weights(spec: ModelSpec) -> str | None:
    """Why the weights of a model cannot be had, with what to do about it."""
    if find(spec) or _may_download(spec):
        return None
    return _how_to_get(spec)


def fetch(spec: ModelSpec) -> Path:
    """The folder with the files of a model, downloaded where that is allowed.

    Raises :class:`ModelError`, at once where there is no network.
    """
    if folder := find(spec):
        return folder
    if not _may_download(spec):
        raise ModelError(_how_to_get(spec))
    from huggingface_hub import HfApi, snapshot_download

    revision = spec.parameters.get("hub_model_revision")
    try:
        HfApi().model_info(spec.hub, revision=revision, timeout=_ANSWER_WITHIN_S)
        return Path(snapshot_download(spec.hub, revision=revision, allow_patterns=list(_FILES)))
    except Exception as error:
        raise ModelError(f"{_how_to_get(spec)} (the hub was asked: {error})") from error


def _whole(folder: Path) -> Path | None:
    return folder if all((folder / name).is_file() for name in _FILES) else None


def _cached(spec: ModelSpec) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.hub, WEIGHTS_FILE, revision=spec.parameters.get("hub_model_revision"))
    return _whole(Path(found).parent) if isinstance(found, str) else None


def _may_download(spec: ModelSpec) -> bool:
    allowed = os.environ.get(_OFFLINE_SETTING, "1").lower() in {"0", "false", "no", "off"}
    return allowed and not spec.parameters.get("local_dir")


def _how_to_get(spec: ModelSpec) -> str:
    files = " and ".join(_FILES)
    if local := spec.parameters.get("local_dir"):
        return f"{spec.name} has no weights: {local} does not hold {files} of huggingface.co/{spec.hub}"
    return (
        f"{spec.name} has no weights here: put {files} of huggingface.co/{spec.hub} into the folder {spec.name} of a "
        f"folder that {FOLDER_SETTING} names, or let them be downloaded with {_OFFLINE_SETTING}=0"
    )
