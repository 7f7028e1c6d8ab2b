"""One request to an OpenAI-compatible endpoint, its answer and its errors.

Invariant: one call sends one request. The client's own retries are off, because each would have to
be counted before it is sent. The key is in no message: what an endpoint says is shown without it.
"""

import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ccx_ray.frequency.judges.model_judge import UnansweredError
from ccx_ray.frequency.judges.prompting import answer_schema
from ccx_ray.frequency.judges.records import Tokens
from ccx_ray.study.frequency_spec import JudgeRuntime

if TYPE_CHECKING:
    from openai import APIStatusError

logger = logging.getLogger(__name__)

_TRANSIENT = frozenset({408, 409, 425, 429})
_OF_GATEWAYS = frozenset({408, 502, 504})
"""Behind these the model may have answered."""
_NO_KEY = "none"
_USAGE = ("prompt_tokens", "completion_tokens")
_BESIDE = ("refusal", "reasoning_content", "reasoning", "tool_calls", "function_call")
"""Fields of a message that are filled where its content is empty."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer that arrived."""

    content: str
    model: str
    finish_reason: str
    """Why the model stopped: ``stop``, ``length`` (the limit of tokens), ``content_filter``, ..."""
    beside: str
    """What stands where an answer should, where the content is empty: thoughts, a refusal, a call
    of a tool."""
    tokens: Tokens | None
    """None: the endpoint does not report them."""

    @property
    def cut(self) -> bool:
        """Whether the model was stopped by the limit of tokens."""
        return self.finish_reason == "length"


class TransientError(Exception):
    """No answer now; there may be one if it is tried again."""

    def __init__(
        self, reason: str, *, retry_after: float | None = None, maybe_paid: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds that the endpoint asks to wait."""
        self.maybe_paid = maybe_paid
        """Whether the model may have answered all the same."""


class AdaptedError(Exception):
    """The endpoint does not know a parameter; the next request is without it."""


@dataclass(kw_only=True)
class Parameters:
    """What every request holds beside the question; an endpoint may refuse some of it."""

    answer_tokens: int
    """At most, of the answer about one document."""
    structured: bool = True
    """By a JSON schema; without it the words of the prompt alone ask for JSON."""
    temperature: bool = True
    limit: str = "max_tokens"

    def of(self, documents: int) -> dict[str, Any]:
        chosen: dict[str, Any] = {self.limit: self.answer_tokens * documents}
        if self.temperature:
            chosen["temperature"] = 0
        if self.structured:
            schema = {"name": "verdict", "strict": True, "schema": answer_schema(documents)}
            chosen["response_format"] = {"type": "json_schema", "json_schema": schema}
        return chosen

    def without_what_is_refused(self, sent: Mapping[str, Any], said: str) -> bool:
        """Leave out the parameter that an endpoint names in its refusal; whether it names one."""
        warning = ""
        known = self.structured, self.temperature
        if "response_format" in sent and ("response_format" in said or "json_schema" in said):
            self.structured = False
            warning = "response_format: JSON is requested in the prompt only"
        elif "max_tokens" in sent and "max_tokens" in said and "max_completion_tokens" in said:
            self.limit = "max_completion_tokens"
        elif "temperature" in sent and "temperature" in said:
            self.temperature = False
            warning = "temperature: answers are sampled and may differ between runs"
        else:
            return False
        if (self.structured, self.temperature) != known:  # once, not for all that are on their way
            logger.warning("the judge's endpoint refuses %s", warning)
        return True


class Chat:
    """A model behind an endpoint, while one event loop runs."""

    def __init__(self, *, model: str, runtime: JudgeRuntime, parameters: Parameters) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self._model, self._runtime, self._parameters = model, runtime, parameters
        self._key = judge_key(runtime)
        url = runtime.url or ""
        # A proxy of the environment does not know this machine's own addresses.
        http = DefaultAsyncHttpxClient(trust_env=False) if is_loopback(url) else None
        self._client = AsyncOpenAI(
            api_key=self._key or _NO_KEY,
            base_url=url,
            timeout=runtime.timeout_seconds,
            max_retries=0,
            http_client=http,
        )

    async def ask(self, prompt: str, documents: int) -> Reply:
        """Send one request.

        Raises:
            TransientError: there may be an answer if it is tried again.
            AdaptedError: the next request is without a parameter that is not known there.
            UnansweredError: trying again would give the same.
        """
        import openai

        parameters = self._parameters.of(documents)
        try:
            completion: Any = await self._client.chat.completions.create(
                model=self._model, messages=[{"role": "user", "content": prompt}], **parameters
            )
        except openai.APIStatusError as error:
            raise self._of_status(error, parameters) from None
        except openai.APITimeoutError:
            seconds = self._runtime.timeout_seconds
            raise TransientError(f"no answer in {seconds:g} s", maybe_paid=True) from None
        except (openai.APIError, ValueError) as error:
            raise TransientError(self._shown(error.__cause__ or error), maybe_paid=True) from None
        reply = read_reply(completion)
        if reply is None:
            raise TransientError("its answer is not a chat completion", maybe_paid=True)
        return reply

    async def close(self) -> None:
        await self._client.close()

    def _of_status(self, error: "APIStatusError", sent: Mapping[str, Any]) -> Exception:
        status = error.status_code
        said = self._shown(_message(error.body) or error.message)
        if status in (400, 422) and self._parameters.without_what_is_refused(sent, said):
            return AdaptedError(said)
        if status == 429 and error.code == "insufficient_quota":
            return UnansweredError(f"answers 429: {said}", "check the account")
        if status in _TRANSIENT or status >= 500:
            return TransientError(
                f"{status} {said}",
                retry_after=retry_after(error.response.headers),
                maybe_paid=status in _OF_GATEWAYS,
            )
        if status in (401, 403):
            # What is said here may quote the key in part.
            remedy = f"set {self._runtime.key_variable} to a valid key"
            return UnansweredError(f"answers {status}: the key is not accepted", remedy)
        if status == 404:
            remedy = "check the model's name at the endpoint, and that the URL ends with /v1"
            return UnansweredError(f"answers 404 for the model {self._model!r}: {said}", remedy)
        return UnansweredError(f"answers {status}: {said}", "fix the cause")

    def _shown(self, what: object) -> str:
        text = " ".join(str(what).split()) or type(what).__name__
        # As it is, and as Python quotes one with a line break in it.
        for key in filter(None, (self._key, ascii(self._key)[1:-1])):
            text = text.replace(key, "***")
        return text[:300]


def judge_key(runtime: JudgeRuntime) -> str:
    """The key in the environment, empty if there is none; without the newline of a file that was
    read into it, of which an HTTP client complains by quoting the key."""
    return os.environ.get(runtime.key_variable, "").strip()


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where a key is not asked for."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_reply(completion: object) -> Reply | None:
    """What an endpoint answered; None if it has not the form of a chat completion.

    The client builds its classes of whatever arrives, so nothing is taken for granted here.
    """
    whole: Any = None
    if hasattr(completion, "model_dump"):
        whole = completion.model_dump(warnings=False)  # it warns of a content that is a list
    try:
        choice = whole["choices"][0]
        message = choice["message"]
        content = _text(message["content"])
    except (TypeError, KeyError, IndexError):
        return None
    usage = whole.get("usage")
    spent = [usage.get(name) for name in _USAGE] if isinstance(usage, dict) else []
    known = [max(0, count) for count in spent if isinstance(count, int)]
    beside = next((f"{name}: {message[name]}" for name in _BESIDE if message.get(name)), "")
    return Reply(
        content=content,
        model=str(whole.get("model") or ""),
        finish_reason=str(choice.get("finish_reason") or "not given"),
        beside="" if content.strip() else beside,
        tokens=Tokens(*known) if len(known) == len(_USAGE) else None,
    )


def _text(content: object) -> str:
    """The text of a message, which may be a list of parts; thoughts among them are left out."""
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict):
        thought = any(word in str(content.get("type")) for word in ("think", "reason"))
        held = (content.get(key) for key in ("text", "content", "value"))
        return "" if thought else _text(next(filter(None, held), ""))
    return content if isinstance(content, str) else ""


def _message(body: object) -> str:
    """What the body of an error says: ``error.message`` of most, ``detail`` or ``message``."""
    while isinstance(body, dict):
        found = next((body[key] for key in ("error", "message", "detail") if body.get(key)), "")
        if not found:
            return str(body)
        body = found
    return str(body or "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``Retry-After``: a number, or a date."""
    said = headers.get("retry-after", "")
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", said):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
