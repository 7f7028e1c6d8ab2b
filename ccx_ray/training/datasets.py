"""The data sets of a training's MLflow run: its stream, and the texts that its rows hold."""

from collections.abc import Iterator

from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.tracking.datasets import Dataset


def training_datasets(work: StepWork, condition: str | None) -> Iterator[Dataset]:
    """The data sets of a training: its stream, and the texts packed in it.

    Args:
        condition: of a trial; a base has none.
    """
    from ccx_ray.corpus.packing.stream import Stream

    step = work.step.needs["stream"]
    assert isinstance(step, Step)
    folder = work.folder_of(step) / (condition or "")
    stream = Stream.open(folder)
    yield Dataset(
        name=f"{step.name}-{condition}" if condition else step.name,
        digest=stream.fingerprint,
        uri=folder.as_uri(),
        size={"num_rows": stream.rows, "tokens": stream.rows * stream.sequence_length},
        context="training",
    )
    for text in _texts(step):
        counts = work.marker_of(text)["counts"]
        documents = counts["documents"]  # of planted text alone a number
        size = {"num_rows": documents["kept"] if isinstance(documents, dict) else documents}
        if isinstance(documents, dict):
            size["bytes"] = documents["bytes_out_text"]
        if "pairs" in counts:
            size["pairs"] = counts["pairs"]["kept"]
        yield Dataset(
            name=text.name,
            digest=text.fingerprint,
            uri=work.folder_of(text).as_uri(),
            size=size,
            context="training",
        )


def _texts(stream: Step) -> Iterator[Step]:
    """The steps of cleaned and of planted text whose tokens a stream packs."""
    packed = [stream.needs["tokens"], *stream.needs.get("replay", {}).values()]  # type: ignore[union-attr]
    for tokens in packed:
        assert isinstance(tokens, Step)
        text: Step | None = tokens
        while text is not None and "text" in text.needs:
            found = text.needs["text"]
            assert isinstance(found, Step)
            yield found
            text = found
