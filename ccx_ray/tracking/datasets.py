"""A data set of an MLflow run: name, digest, place and size of what is read, never the data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

LONGEST_DIGEST = 36
"""Characters that MLflow's database holds of a digest."""
CONTEXT_TAG = "mlflow.data.context"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a run reads. MLflow knows one by name and digest, within an experiment."""

    name: str
    digest: str
    """Hash of the content, of which the beginning is enough to tell two contents apart."""
    uri: str
    size: Mapping[str, int]
    """Unit -> how many; of ``num_rows`` MLflow's page knows the meaning."""
    context: Literal["training", "evaluation"]

    def __post_init__(self) -> None:
        assert 0 < len(self.digest) <= LONGEST_DIGEST, f"digest of {self.name}: {self.digest!r}"

    def as_input(self) -> "DatasetInput":
        from mlflow.entities import Dataset as Entity
        from mlflow.entities import DatasetInput, InputTag

        return DatasetInput(
            Entity(
                name=self.name,
                digest=self.digest,
                source_type="s3" if self.uri.startswith("s3://") else "local",
                source=json.dumps({"uri": self.uri}),
                profile=json.dumps(dict(self.size)),
            ),
            [InputTag(CONTEXT_TAG, self.context)],
        )
