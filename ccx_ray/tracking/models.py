"""The checkpoints of one run as MLflow's logged models: pointers to weights, never the weights.

Invariant: a checkpoint is one logged model, and one output of its run, whoever was killed in
between.
"""

from collections.abc import Mapping
from typing import Any

from ccx_ray.tracking.client import PatientClient

MODEL_TYPE = "causal language model"


class ModelLog:
    """The logged models of one run, by optimizer step."""

    def __init__(self, client: PatientClient, experiment: str, run: str) -> None:
        self._client = client
        self._experiment = experiment
        self._run = run
        self._known: dict[int, str] | None = None
        """Step -> id; None: MLflow has to be asked."""
        self._outputs: set[str] = set()

    def log(
        self, step: int, *, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Find the logged model of a checkpoint, or create it; returns its id.

        Args:
            name: of the training.
            parameters: that the UI shows and compares; ``step`` is added.
            tags: where the checkpoint is, and its hash.
        """
        from mlflow.entities import LoggedModelOutput

        try:
            known = self._ask()
            if step not in known:
                created = self._client.create_logged_model(
                    self._experiment,
                    name=f"{name}-step-{step:06d}",
                    source_run_id=self._run,
                    tags=dict(tags),
                    params={"step": str(step), **{k: str(v) for k, v in parameters.items()}},
                    model_type=MODEL_TYPE,
                )
                known[step] = created.model_id
            if known[step] not in self._outputs:  # the last of the three calls
                self._client.finalize_logged_model(known[step], "READY")
                self._client.log_outputs(self._run, [LoggedModelOutput(known[step], step)])
                self._outputs.add(known[step])
        except Exception:
            self._known = None  # what was on its way may be there or not
            raise
        return known[step]

    def _ask(self) -> dict[int, str]:
        if self._known is None:
            wanted = f"source_run_id = '{self._run}'"
            known: dict[int, str] = {}
            page: str | None = ""
            while page is not None:
                found = self._client.search_logged_models(
                    [self._experiment], filter_string=wanted, page_token=page or None
                )
                known |= {int(model.params["step"]): model.model_id for model in found}
                page = found.token or None
            outputs = self._client.get_run(self._run).outputs
            self._outputs = {one.model_id for one in outputs.model_outputs} if outputs else set()
            self._known = known
        return self._known
