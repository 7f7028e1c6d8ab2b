"""From the judge of a study file to one that judges.

Invariant: what a user can get wrong is found by ``check_judge``, before any compute is spent and
before anything is sent.
"""

import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_model_folder
from ccx_ray.frequency.judges.lexical import LexicalJudge
from ccx_ray.frequency.judges.model_judge import AnsweringModel, ModelJudge, OnProgress
from ccx_ray.frequency.judges.prompting import read_prompt
from ccx_ray.frequency.judges.verdict import Judge
from ccx_ray.storage.object_stores import refuse_credentials
from ccx_ray.study.frequency_spec import JudgeRuntime, JudgeSpec, LexicalJudgeSpec, LocalJudgeSpec

_CAUSAL = "CausalLM|LMHead|ConditionalGeneration"


def open_judge(
    spec: JudgeSpec,
    runtime: JudgeRuntime,
    *,
    root: Path,
    cache_folder: Path,
    fingerprint: str,
    document_frequencies: Mapping[str, int],
    documents: int,
    run: str | None = None,
    on_progress: OnProgress | None = None,
) -> Judge:
    """The judge of a spec, for the process that calls it; a model is opened when it is needed.

    Args:
        root: where relative paths of the spec start.
        cache_folder: of verdicts and of the account of what was spent.
        fingerprint: of what decides a verdict; names the file of the cache.
        document_frequencies: term -> documents of the corpus, for the lexical judge.
        documents: of the corpus, for the lexical judge.
        run: names a run of the driver: caps hold for all judges that are opened with one name, in
            whatever process; a new one for this judge alone when absent.
        on_progress: for judges that are models.

    Raises:
        UserError: what ``check_judge`` would have found.
    """
    if isinstance(spec, LexicalJudgeSpec):
        return LexicalJudge(
            document_frequencies, documents=documents, salient_share=spec.salient_share
        )
    prompt = read_prompt(spec.prompt, root, "the judge's prompt")
    model: AnsweringModel
    if isinstance(spec, LocalJudgeSpec):
        from ccx_ray.frequency.judges.local_model import LocalModel

        model = LocalModel(spec, runtime, prompt, _folder(spec, root))
    else:
        from ccx_ray.frequency.judges.endpoint import EndpointModel

        model = EndpointModel(
            spec,
            runtime,
            prompt,
            spending=cache_folder,
            run=run or uuid.uuid4().hex,
            judge=f"{judge_name(spec)} {fingerprint}",
        )
    return ModelJudge(model, cache_folder / f"{fingerprint}.sqlite", on_progress=on_progress)


def judge_counts(judge: Judge) -> dict[str, int]:
    """What a judge that is a model counted since it was opened; nothing of the lexical one.

    ``pairs`` of question and document that were different, of them ``cached`` before;
    ``evidence_not_found``: accepted, but what the model quotes is not in the document;
    ``narrowed``: shown in a smaller window to fit a local model; of an endpoint ``requests``, of
    them ``retries``, ``unreadable`` pairs, ``prompt_tokens``, ``completion_tokens``.
    """
    return dict(judge.counts) if isinstance(judge, ModelJudge) else {}


def judge_name(spec: JudgeSpec) -> str:
    """Short, for tables; what a spec leaves as it is goes without saying."""
    if isinstance(spec, LexicalJudgeSpec):
        return f"lexical {spec.salient_share:g}"
    model = spec.folder if isinstance(spec, LocalJudgeSpec) else spec.model
    said = [spec.kind, model.rstrip("/").rsplit("/", 1)[-1]]
    if spec.prompt is not None:
        said.append(Path(spec.prompt).stem)
    if spec.window_characters != type(spec).model_fields["window_characters"].default:
        said.append(str(spec.window_characters))
    return " ".join(said)


def check_judge(spec: JudgeSpec, runtime: JudgeRuntime, root: Path, field: str) -> None:
    """Find what is wrong with a judge and where it runs; sends nothing.

    Args:
        field: of the study file that holds the spec, such as ``frequency.judge``.

    Raises:
        UserError: something is.
    """
    if isinstance(spec, LexicalJudgeSpec):
        return
    read_prompt(spec.prompt, root, f"{field}.prompt")
    if isinstance(spec, LocalJudgeSpec):
        _check_folder(_folder(spec, root), f"{field}.folder")
    else:
        _check_endpoint(runtime, field)


def _check_folder(folder: Path, field: str) -> None:
    try:
        check_model_folder(folder)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
    config = folder / "config.json"
    try:
        content = json.loads(config.read_text("utf-8"))
    except OSError:
        return  # a pointer to files elsewhere, which are read when the model is opened
    except ValueError as error:
        raise UserError(
            f"{field}: {config} is not JSON ({error}); give the file that save_pretrained wrote"
        ) from None
    named = content.get("architectures") if isinstance(content, dict) else None
    if named and not any(re.search(_CAUSAL, str(one)) for one in named):
        raise UserError(
            f"{field}: {folder} holds a {named[0]}, which is no causal model; give one that "
            "AutoModelForCausalLM opens"
        )


def _check_endpoint(runtime: JudgeRuntime, field: str) -> None:
    from ccx_ray.frequency.judges.chat import is_loopback, judge_key

    url = runtime.url
    if url is None:
        raise UserError(
            f"runtime.judge.url: absent, but {field} is an endpoint; give its URL, such as "
            "http://127.0.0.1:8000/v1"
        )
    host = _host(url, variable=runtime.key_variable)
    key = judge_key(runtime)
    if not re.fullmatch("[!-~]*", key):
        raise UserError(
            f"runtime.judge.key_variable: what {runtime.key_variable} holds is no key, for it has "
            "a blank or a letter beyond ASCII; set it to the key alone"
        )
    if not key and not is_loopback(url):
        raise UserError(
            f"runtime.judge.key_variable: the environment has no {runtime.key_variable}, which "
            f"{host} is asked with; set it, or name the variable that holds the key"
        )
    prices = runtime.dollars_per_million_input_tokens, runtime.dollars_per_million_output_tokens
    if runtime.max_dollars is not None and not any(prices):
        raise UserError(
            f"runtime.judge.max_dollars: {runtime.max_dollars:g} without prices caps nothing; give "
            "dollars_per_million_input_tokens and dollars_per_million_output_tokens"
        )


def _host(url: str, *, variable: str) -> str:
    try:
        refuse_credentials(url, "runtime.judge.url", variable=variable)
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0
        if usable and parts.hostname and not re.search(r"\s", url):
            return parts.hostname
    except ValueError:  # brackets, or a port that is no number up to 65535
        pass
    shown = url.rpartition("@")[2].partition("?")[0]
    raise UserError(
        f"runtime.judge.url: {shown!r} is no URL of an endpoint; give one such as "
        "https://api.openai.com/v1"
    )


def _folder(spec: LocalJudgeSpec, root: Path) -> Path:
    return (root / Path(spec.folder).expanduser()).resolve()
