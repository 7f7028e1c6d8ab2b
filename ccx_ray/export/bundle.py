"""Bundle a finished study into one folder, in the form of a data set repository of the hub.

Invariants: the folder appears at once and whole, or not at all; the same study exported by the same
code is the same bytes; nothing of the storage is changed.
"""

import errno
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.export.checkpoints import Checkpoint, Weights, checkpoints_of, copy_checkpoint
from ccx_ray.export.data_sets import DataSet, write_data_sets
from ccx_ray.export.dataset_card import dataset_card
from ccx_ray.export.finished import FinishedStudy, Training, open_finished
from ccx_ray.export.licences import LICENCES_FILE, TextSource, text_sources
from ccx_ray.export.model_cards import model_card
from ccx_ray.export.rendering import licences_page, size
from ccx_ray.export.study_file import provenance_json, study_yaml
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.storage.object_stores import one_line
from ccx_ray.storage.publishing import storage_folder

CHECKSUMS = "checksums.sha256"
CARD = "README.md"
READER = "read_export.py"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A written export: its folder, contents and size."""

    folder: Path
    study: str
    data_sets: Sequence[str]
    """Names."""
    checkpoints: Sequence[Checkpoint]
    files: int
    bytes: int
    unstated: Sequence[TextSource]
    """Sources without a stated licence."""


def export_study(study_folder: Path, to: str, weights: Weights) -> Bundle:
    """Bundle the study in ``<storage>/<study>`` into a folder that is new, or empty.

    Raises:
        UserError: the study is not finished or damaged, or the folder cannot be written.
    """
    target = export_folder(to, study_folder.parent)
    finished = open_finished(study_folder)
    checkpoints = {
        training.name: checkpoints_of(finished, training, weights)
        for training in finished.trainings
    }
    try:
        with _new_folder(target) as aside:
            _check_space(aside, [one for own in checkpoints.values() for one in own])
            data_sets = _write(finished, checkpoints, aside)
            files = [path for path in aside.rglob("*") if path.is_file()]
            total = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise UserError(
            f"--to: {str(target)!r} cannot be written ({one_line(error)}); give a folder that you "
            "may write to"
        ) from None
    return Bundle(
        folder=target,
        study=finished.study.name,
        data_sets=[one.name for one in data_sets],
        checkpoints=[one for own in checkpoints.values() for one in own],
        files=len(files),
        bytes=total,
        unstated=[source for source in text_sources(finished) if not source.licenses],
    )


def export_folder(to: str, storage: Path) -> Path:
    """The absolute folder that ``--to`` names.

    Raises:
        UserError: there is something in it, or it lies inside the storage.
    """
    target = storage_folder(to, "--to")
    if target.is_relative_to(storage):
        raise UserError(
            f"--to: {str(target)!r} lies inside the storage {str(storage)!r}; give a folder "
            "outside of it"
        )
    if target == Path.cwd():  # a shell would stay in the folder that is replaced
        raise UserError(
            f"--to: {to!r} is the folder that you are in; give another one, new or empty"
        )
    if target.exists() and not target.is_dir():
        raise UserError(f"--to: {str(target)!r} is a file; give a folder that is new or empty")
    if target.is_dir() and any(target.iterdir()):
        raise _not_empty(target)
    return target


def _not_empty(target: Path) -> UserError:
    return UserError(f"--to: {str(target)!r} is not empty; give a folder that is new or empty")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, which takes the target's name at the end; gone where that
    fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        aside.mkdir()
        yield aside
        aside.rename(target)  # replaces an empty folder, and no other
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _not_empty(target) from None
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_space(folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
    needed = sum(one.bytes for one in checkpoints if one.folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"--weights: the checkpoints take {size(needed)} and {size(free)} are free at "
            f"{str(folder.parent)!r}; give another --to, or fewer weights"
        )


def _write(
    finished: FinishedStudy, checkpoints: dict[str, list[Checkpoint]], bundle: Path
) -> list[DataSet]:
    """Write everything; the card and the checksums last, because they list the rest."""
    sources, every = text_sources(finished), [one for own in checkpoints.values() for one in own]
    data_sets = write_data_sets(finished, every, bundle)
    _copy_analysis(finished, bundle)
    (bundle / "study.yaml").write_text(study_yaml(finished.study), "utf-8")
    (bundle / "provenance.json").write_text(provenance_json(finished), "utf-8")
    reader = resources.files("ccx_ray.export") / READER
    (bundle / READER).write_bytes(reader.read_bytes())
    is_copied = any(one.folder for one in every)
    page = licences_page(finished, sources, weights=is_copied)
    (bundle / LICENCES_FILE).write_text(page, "utf-8")
    for training in finished.trainings:
        model = bundle / "models" / training.name
        model.mkdir(parents=True)
        for one in checkpoints[training.name]:
            if one.folder:
                copy_checkpoint(training, one, bundle)
        own = [source for source in sources if _was_read(finished, training, source)]
        (model / LICENCES_FILE).write_text(licences_page(finished, own, weights=True), "utf-8")
        (model / CARD).write_text(model_card(finished, training, checkpoints, own), "utf-8")
    names = [*_names(bundle), CARD, CHECKSUMS]
    card = dataset_card(finished, data_sets, every, sources, names)
    (bundle / CARD).write_text(card, "utf-8")
    lines = [f"{file_sha256(bundle / name)}  {name}\n" for name in _names(bundle)]
    (bundle / CHECKSUMS).write_text("".join(lines), "utf-8")
    return data_sets


def _copy_analysis(finished: FinishedStudy, bundle: Path) -> None:
    """The report, its tables and figures, and ``results.json``."""
    for name in finished.analysis.marker["files"]:
        source = finished.analysis.folder / name
        assert source.resolve().is_relative_to(finished.analysis.folder.resolve()), name
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, bundle / name)


def _was_read(finished: FinishedStudy, training: Training, source: TextSource) -> bool:
    """Whether a training, or the base that it started from, may have read text of a source."""
    base, trial = finished.study.base_language.code, training.trial
    if ".probes." in source.field:
        return False
    return source.language == base or (trial is not None and source.language == trial.language)


def _names(bundle: Path) -> list[str]:
    """All files, relative to the bundle, in order."""
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*")
                  if path.is_file())  # fmt: skip
