"""Input files of a study and their identities: hashes of their content, not their places."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ccx_ray.errors import UserError
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.step_folders import describe_files
from ccx_ray.storage.hashing import KnownHashes
from ccx_ray.storage.input_files import find_files
from ccx_ray.study.text_spec import LanguageSpec, SourceSpec

INPUT_HASHES = "input_hashes.json"
"""Below a study's folder: hashes of its input files, which are read again when they change."""


class InputFiles:
    """The input files of a spec, by their paths relative to ``root``, and their hashes."""

    def __init__(
        self, root: Path, *, allow_missing: bool = False, known: KnownHashes | None = None
    ) -> None:
        """
        Args:
            known: hashes of an earlier run, of files that have not changed since.
            allow_missing: plan with files that are still to be supplied, for ``--dry-run``.
        """
        self.root = self.text_root = root
        self.missing: list[str] = []
        self._allow_missing = allow_missing
        self._known = known or KnownHashes()

    def planted_in(self, folder: Path) -> Self:
        """The same for a study whose text and questions a step of its graph makes in ``folder``:
        that step's fingerprint says what is in them."""
        planted = copy.copy(self)
        planted.text_root = folder
        return planted

    @property
    def are_planted(self) -> bool:
        """Whether text and questions are made by the study itself."""
        return self.text_root != self.root

    def resolve(self, name: str, field: str) -> Path:
        """The path of an input file.

        Raises:
            UserError: the file does not exist or is not a file.
        """
        path, found = self._find(name, field, Path.is_file)
        if not found:
            if not self._allow_missing:
                raise UserError(f"{field}: {str(path)!r} is not an existing file")
            self.missing.append(f"{field}: {name}")
        return path

    def hash(self, name: str, field: str) -> str:
        """SHA-256 of an input file's content."""
        path = self.resolve(name, field)
        return self._known.sha256(path) if path.is_file() else f"missing:{name}"

    def resolve_folder(self, name: str, field: str) -> Path:
        """The path of a folder that a study names.

        Raises:
            UserError: it is no folder.
        """
        path, found = self._find(name, field, Path.is_dir)
        if not found:
            if not self._allow_missing:
                raise UserError(f"{field}: {str(path)!r} is not an existing folder")
            self.missing.append(f"{field}: {name}")
        return path

    def folder(self, name: str, field: str) -> str:
        """Hash of the names and contents of a folder's files.

        Raises:
            UserError: it is no folder.
        """
        path = self.resolve_folder(name, field)
        return fingerprint(describe_files(path)) if path.is_dir() else f"missing:{name}"

    def _find(self, name: str, field: str, is_there: Callable[[Path], bool]) -> tuple[Path, bool]:
        try:
            path = (self.root / Path(name).expanduser()).resolve()
            return path, is_there(path)
        except (OSError, RuntimeError) as error:  # a text given for a file, ~ of nobody
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            shown = name if len(name) < 80 else name[:77] + "..."
            raise UserError(
                f"{field}: {shown!r} is not a valid path ({reason}); give another"
            ) from None

    def probe_hashes(self, language: LanguageSpec) -> dict[str, str]:
        """Side (``english``, ``target``) -> hash of the probe file of a culture.

        Raises:
            UserError: a file is missing.
        """
        if self.are_planted:
            return {}
        return {
            side: self.hash(name, f"languages.{language.code}.probes.{side}")
            for side, name in language.probes.model_dump(exclude={"license"}).items()
        }

    def source(self, source: SourceSpec, field: str) -> dict[str, object]:
        """What decides the text of a source: how it is read, and the files' names and hashes; of a
        data set on a hub its revision.

        Raises:
            UserError: there are no such files.
        """
        if self.are_planted:
            return {}
        described = {"path", "target_path", "license"}  # by its content, or of no consequence
        identity = source.model_dump(exclude=described, exclude_none=True)
        files = []
        for path in filter(None, (source.path, source.target_path)):
            try:
                found = find_files(path, root=self.root, field=field)
            except UserError:
                if not self._allow_missing:
                    raise
                self.missing.append(f"{field}: {path}")
                files.append([path, "missing"])
            else:
                files += [[file.name, file.sha256(self._known)] for file in found]
        return {**identity, "files": files}
