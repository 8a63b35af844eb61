"""A client of any OpenAI-compatible fine-tuning API: files, jobs, events. Retries what may pass, explains what will not.

The calls are those of OpenAI's API reference: POST and GET /files, POST and GET /fine_tuning/jobs, GET
/fine_tuning/jobs/{id} and its /events.
"""

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from contracts.errors import ModelError
from contracts.params import Managed, secret

ATTEMPTS = 8
LONGEST_PAUSE = 60.0  # seconds, unless the server asks for more
FAILED = ("failed", "cancelled", "canceled")
ENDED = ("succeeded", *FAILED)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class _Failure(BaseModel):
    message: str | None = None
    code: str | None = None


class File(BaseModel):
    """An uploaded file."""

    id: str
    filename: str = ""
    bytes: int | None = None
    status: str | None = None


class Job(BaseModel):
    """A fine-tuning job as the server tells it. `fine_tuned_model` is set once `status` is `succeeded`."""

    id: str
    status: str
    training_file: str = ""
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    error: _Failure | None = None

    @property
    def reason(self) -> str:
        """Why it failed, in the server's words."""
        found = self.error.message or self.error.code if self.error else None
        return found or "the server gives no reason"


class Event(BaseModel):
    """One line of a job's log."""

    id: str
    message: str = ""


class _Page(BaseModel):
    data: list[dict[str, Any]]


class _PassingError(Exception):
    """A failure that may be over at the next attempt; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Api:
    """One server with one key. `retry_after` is what its last answer asked to wait, in seconds.

    Every method raises ModelError, with the server's own words, when it is refused or cannot be asked.
    """

    def __init__(self, settings: Managed) -> None:
        """Raises ParamsError when the environment variable of the key is not set."""
        self._settings = settings
        self._key = secret(settings.api_key_env)
        self._reached = False
        self.retry_after = 0.0
        self._client = httpx.Client(
            base_url=settings.endpoint.rstrip("/") + "/",
            timeout=60,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def upload(self, name: str, content: bytes) -> str:
        """Have a file on the server, and return its id.

        An answer may be lost after the file arrived: so each attempt first looks for a file of this name, which the
        caller makes unique.
        """

        def attempt() -> str:
            for row in self._listed("files", purpose="fine-tune"):
                file = _parsed(File, row)
                if (file.filename, file.bytes) == (name, len(content)) and file.status != "error":
                    return file.id
            answer = self._ask(
                "POST",
                "files",
                data={"purpose": "fine-tune"},
                files={"file": (name, content, "application/jsonl")},
                timeout=httpx.Timeout(60, write=600, read=600),
            )
            return _parsed(File, answer).id

        return self._retrying(attempt)

    def start(self, body: dict[str, Any]) -> Job:
        """Have a job for `body`, and return it: the one that already uses its training file, unless that one failed."""

        def attempt() -> Job:
            for row in self._listed("fine_tuning/jobs", limit=100):
                job = _parsed(Job, row)
                if job.training_file == body["training_file"] and job.status not in FAILED:
                    return job
            return _parsed(Job, self._ask("POST", "fine_tuning/jobs", json=body))

        return self._retrying(attempt)

    def job(self, name: str) -> Job:
        """How a job is."""
        return self._retrying(lambda: _parsed(Job, self._ask("GET", f"fine_tuning/jobs/{name}")))

    def events(self, name: str) -> list[Event]:
        """The last hundred events of a job, the oldest first; none where the server keeps none."""
        rows = self._retrying(lambda: self._listed(f"fine_tuning/jobs/{name}/events", limit=100))
        return [_parsed(Event, row) for row in reversed(rows)]

    def _listed(self, path: str, **query: str | int) -> list[dict[str, Any]]:
        answer = self._ask("GET", path, params=query, optional=True)
        return _parsed(_Page, answer).data if answer is not None else []

    def _retrying(self, attempt: Callable[[], T]) -> T:
        for tried in range(ATTEMPTS):
            try:
                return attempt()
            except _PassingError as passing:
                if tried == ATTEMPTS - 1:
                    raise ModelError(
                        f"{self._settings.endpoint} failed {ATTEMPTS} times, the last time with {passing}: run the same"
                        " command again later; what was uploaded or started is kept"
                    ) from None
                time.sleep(pause(self._settings.poll_seconds, tried, passing.wait))
        raise AssertionError("unreachable")

    def _ask(self, method: str, path: str, *, optional: bool = False, **how: Any) -> Any:
        """One request, one answer as parsed JSON; None for an `optional` call that the server does not have."""
        try:
            response = self._client.request(method, path, **how)
        except httpx.ConnectError as error:
            if self._reached:
                raise _PassingError(f"no connection ({error})") from None
            raise ModelError(
                f"nothing answers at {self._settings.endpoint} ({error}): correct managed.endpoint in params.yaml, or"
                " start the server"
            ) from None
        except httpx.TransportError as error:
            raise _PassingError(f"no answer ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelError(f"managed.endpoint {self._settings.endpoint} cannot be asked ({error})") from None
        self._reached = True
        self.retry_after = _retry_after(response)
        status = response.status_code
        if optional and status in (404, 405, 501):
            return None
        if status in (408, 409, 429) or (status >= 500 and status != 501):
            raise _PassingError(f"{status} ({self._said(response)})", self.retry_after)
        if not response.is_success:
            raise ModelError(f"{response.url} answered {status} ({self._said(response)}): {self._way_out(status)}")
        try:
            return response.json()
        except ValueError:
            raise ModelError(_not_the_api(f"{response.url} answered with no JSON")) from None

    def _said(self, response: httpx.Response) -> str:
        """The server's own words on one line, without the key should it repeat it."""
        try:
            error = response.json()["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError):
            text = response.text
        text = text.replace(self._key, "***") if self._key else text
        return printable(text)[:300] or response.reason_phrase

    def _way_out(self, status: int) -> str:
        if status in (401, 403):
            named = self._settings.api_key_env
            return f"check the key in {named}" if named else "name the variable that holds a key in managed.api_key_env"
        if status == 404 or 300 <= status < 400:
            return "correct managed.endpoint or managed.model in params.yaml"
        return "correct what it names in params.yaml below managed, or in the pairs"


def pause(first: float, tried: int, asked: float = 0.0) -> float:
    """Seconds to wait after `tried` pauses: exponential back-off with equal jitter, never less than the server asked."""
    longest = min(LONGEST_PAUSE, first * 2.0 ** min(tried, 30))
    return max(asked, random.uniform(longest / 2, longest))


def printable(text: str) -> str:
    """`text` on one line, without control characters: it comes from elsewhere and goes to a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the header asks for: a number of them, or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return 0.0


def _parsed(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(map(str, detail["loc"])) or "the whole"
        raise ModelError(
            _not_the_api(f"an answer is no {model.__name__.lstrip('_')} ({place}: {detail['msg']})")
        ) from None


def _not_the_api(found: str) -> str:
    return f"{found}: managed.endpoint must be an OpenAI-compatible API, such as https://api.openai.com/v1"
