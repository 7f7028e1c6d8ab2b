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
    """Data that a run reads. Name and digest identify it within an MLflow experiment."""

    name: str
    digest: str
    """Hash of the content, or its beginning."""
    uri: str
    size: Mapping[str, int]
    """Unit -> number; MLflow's page shows ``num_rows`` as the number of rows."""
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
