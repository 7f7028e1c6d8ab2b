"""Opening the judge of a study file, and checking its settings before any work.

Invariant: what a user can get wrong is found by ``check_judge``, before any compute is spent and
before anything is sent.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_causal_folder
from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.judges.lexical import lexical_judge
from ccx_ray.frequency.judges.prompting import read_prompt
from ccx_ray.frequency.judges.verdict import Judge
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.storage.object_stores import refuse_credentials
from ccx_ray.study.frequency_spec import JudgeRuntime, JudgeSpec, LexicalJudgeSpec, LocalJudgeSpec

OpenJudge = Callable[[Sequence[Cloze], Lexicon], Judge]
"""For these questions in the corpus of this lexicon; called in the process that judges."""


def open_judge(
    spec: JudgeSpec,
    runtime: JudgeRuntime,
    clozes: Sequence[Cloze],
    lexicon: Lexicon,
    *,
    root: Path,
    cache_folder: Path,
    fingerprint: str,
    run: str,
) -> Judge:
    """The judge of a spec, for the process that calls it; a model is opened when it is needed.

    Args:
        clozes: what is asked, for the lexical judge; and the corpus of the lexicon.
        root: where relative paths of the spec start.
        cache_folder: of verdicts and of the account of what was spent.
        fingerprint: of what decides a verdict; names the file of the cache.
        run: names a run of the driver: caps hold for all judges that are opened with one name, in
            whatever process.

    Raises:
        UserError: what ``check_judge`` would have found.
    """
    if isinstance(spec, LexicalJudgeSpec):
        return lexical_judge(spec, clozes, lexicon)
    prompt = read_prompt(spec.prompt, root, "the judge's prompt")
    cache_file = cache_folder / f"{fingerprint}.sqlite"
    if isinstance(spec, LocalJudgeSpec):
        from ccx_ray.frequency.judges.local_model import LocalJudge

        return LocalJudge(spec, runtime, prompt, cache_file, folder=_folder(spec, root))
    from ccx_ray.frequency.judges.endpoint import EndpointJudge

    account = f"{judge_name(spec)} {fingerprint}"
    return EndpointJudge(spec, runtime, prompt, cache_file, run=run, account=account)


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
    """Find what is wrong with a judge of this field, and where it runs; sends nothing."""
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
            f"runtime.judge.url: missing, but {field} is an endpoint; give its URL, such as "
            "http://127.0.0.1:8000/v1"
        )
    host = _host(url, variable=runtime.key_variable)
    key = judge_key(runtime)
    if not re.fullmatch("[!-~]*", key):
        raise UserError(
            f"runtime.judge.key_variable: the value of {runtime.key_variable} is not a key, "
            "because it has a space or a non-ASCII character; set it to the key only"
        )
    if not key and not is_loopback(url):
        raise UserError(
            f"runtime.judge.key_variable: {runtime.key_variable} is not set, but {host} needs a "
            "key; set it, or name the variable with the key"
        )
    prices = runtime.dollars_per_million_input_tokens, runtime.dollars_per_million_output_tokens
    if runtime.max_dollars is not None and not any(prices):
        raise UserError(
            f"runtime.judge.max_dollars: {runtime.max_dollars:g} needs prices; give "
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
        f"runtime.judge.url: {shown!r} is not the URL of an endpoint; give one such as "
        "https://api.openai.com/v1"
    )


def _folder(spec: LocalJudgeSpec, root: Path) -> Path:
    return (root / Path(spec.folder).expanduser()).resolve()
