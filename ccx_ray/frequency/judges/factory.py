"""Opening the judge of a study file, and checking its settings before any work.

Invariant: what a user can get wrong is found by ``check_judge``, before any compute is spent and
before anything is sent.
"""

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_causal_folder
from ccx_ray.frequency.judges.lexical import LexicalJudge
from ccx_ray.frequency.judges.model_judge import AnsweringModel, ModelJudge
from ccx_ray.frequency.judges.prompting import read_prompt
from ccx_ray.frequency.judges.verdict import Judge
from ccx_ray.storage.object_stores import refuse_credentials
from ccx_ray.study.frequency_spec import JudgeRuntime, JudgeSpec, LexicalJudgeSpec, LocalJudgeSpec


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
    return ModelJudge(model, cache_folder / f"{fingerprint}.sqlite")


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
        check_causal_folder(_folder(spec, root), f"{field}.folder")
    else:
        _check_endpoint(runtime, field)


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
