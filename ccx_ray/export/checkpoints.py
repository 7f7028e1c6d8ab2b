"""The checkpoints of an exported study: their hashes and where they lie, and copies of them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccx_ray.errors import UserError
from ccx_ray.export.finished import FinishedStudy, Training
from ccx_ray.storage.hashing import DamagedFolderError, Manifest
from ccx_ray.storage.remote_folders import fetch_checkpoint, located_files
from ccx_ray.training.checkpoints import CHECKPOINTS, checkpoint_folder, published_steps

Weights = Literal["none", "last", "all"]
"""Which checkpoints of each training are copied."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint of a training."""

    training: str
    step: int
    files: Manifest
    place: str
    """Below the storage of the study."""
    uri: str | None
    """URI of its files in an object store; None of files in the storage."""
    folder: str | None
    """Folder of its copy in the export; None if only its hashes are exported."""

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for file in self.files.values())

    @property
    def weights(self) -> dict[str, str]:
        """Name -> SHA-256 of the files that hold the weights."""
        return {
            name: file["sha256"]
            for name, file in self.files.items()
            if name.endswith(".safetensors")
        }


def checkpoints_of(
    finished: FinishedStudy, training: Training, weights: Weights
) -> list[Checkpoint]:
    """The checkpoints of a training, in order; the last one's copy lies in the training's own
    folder below ``models/``, an earlier one's in a folder within it.

    Raises:
        UserError: the list of a checkpoint's files cannot be read.
    """
    steps = published_steps(training.step.folder)
    found = []
    for step in steps:
        folder = checkpoint_folder(training.step.folder, step)
        try:
            uri, files = located_files(folder)
        except DamagedFolderError as error:
            raise UserError(
                f"{folder}: is not what was written ({error}); restore the file"
            ) from None
        is_last = step == steps[-1]
        copied = weights == "all" or (weights == "last" and is_last)
        model = f"models/{training.name}"
        found.append(
            Checkpoint(
                training=training.name,
                step=step,
                files=files,
                place="/".join(
                    [finished.folder.name, training.step.folder.name, CHECKPOINTS, folder.name]
                ),
                uri=None if uri.startswith("file:") else uri,
                folder=(model if is_last else f"{model}/{folder.name}") if copied else None,
            )
        )
    return found


def copy_checkpoint(training: Training, checkpoint: Checkpoint, bundle: Path) -> None:
    """Copy the files of a checkpoint, verified first, and fetched where they lie elsewhere.

    Raises:
        UserError: they are damaged or cannot be fetched.
    """
    assert checkpoint.folder is not None
    source = fetch_checkpoint(checkpoint_folder(training.step.folder, checkpoint.step))
    target = bundle / checkpoint.folder
    target.mkdir(parents=True, exist_ok=True)
    for name in checkpoint.files:
        shutil.copyfile(source / name, target / name)
