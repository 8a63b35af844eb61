"""The door of the service: who may come in, and what counts as a question. Everything else never reaches the model.

BentoML would refuse most of this too, but with a traceback in the log for every bad request, and malformed JSON as an
error of ours (500).
"""

import hmac
import json
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from contracts.params import secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUESTIONS = ("/answer", "/stream")
OPEN = ("/", "/livez", "/readyz", "/healthz")  # probes, and the page: it holds no secret and asks for the key itself


class Guard:
    """ASGI middleware. `api_key_env` names the variable that holds the key, None asks for none.

    Raises:
        ParamsError: the variable is not set; the service then does not start.
    """

    def __init__(self, app: "ASGIApp", api_key_env: str | None, max_characters: int) -> None:
        self.app = app
        self.key = secret(api_key_env)
        self.max_characters = max_characters

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if self.key and scope["path"] not in OPEN and not _knows(self.key, Headers(scope=scope)):
            refusal = _refuse(401, "this service asks for a key: send it as `Authorization: Bearer KEY`")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return await refusal(scope, receive, send)
        if scope["path"] not in QUESTIONS or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        # A page of another site can post plain text unasked, but JSON only where CORS allows it: nowhere here.
        if Headers(scope=scope).get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return await _refuse(415, "send JSON, with `Content-Type: application/json`")(scope, receive, send)
        # The longest JSON spelling of a character is two escapes of six bytes.
        body = await _read(receive, limit=12 * self.max_characters + 1024)
        problem = "the request is far longer than any question may be" if body is None else self.problem(body)
        if body is None or problem:
            return await _refuse(413 if body is None else 400, problem)(scope, receive, send)
        await self.app(scope, _replay(body, receive), send)

    def problem(self, body: bytes) -> str:
        """What is wrong with a request's body, or an empty string."""
        try:
            question = json.loads(body)["question"]
        except (ValueError, KeyError, TypeError, RecursionError):
            question = None
        if not isinstance(question, str):
            return 'the body must be JSON like {"question": "…"}'
        if not question.strip():
            return "the question is empty: ask something"
        if len(question) > self.max_characters:
            return f"the question has {len(question)} characters: {self.max_characters} at most, so shorten it"
        try:
            question.encode()
        except UnicodeEncodeError:
            return "the question holds half a character (a lone surrogate): send valid Unicode"
        return ""


def _knows(key: str, headers: Headers) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Compared as bytes, in a time that does not tell how much of it was right.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), key.encode())


def _refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


async def _read(receive: "Receive", limit: int) -> bytes | None:
    """The request's body, or None when it is longer than `limit` bytes."""
    body, more = b"", True
    while more and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= limit else None


def _replay(body: bytes, receive: "Receive") -> "Receive":
    """A `receive` that gives the body that was read already, then whatever comes next (a disconnect)."""
    unread = [body]

    async def again() -> "Message":
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return again
