"""The door: keys, questions, and what a bad request gets."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from contracts.errors import ParamsError
from serving.guard import Guard


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application behind the guard that repeats what reached it."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await JSONResponse({"path": scope["path"], "body": body.decode()})(scope, receive, send)


class Client:
    """One request at a time through a guard, without a server."""

    def __init__(self, key_env: str | None = None) -> None:
        self.app = Guard(echo, key_env, max_characters=20)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://desk") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


def test_a_good_question_arrives_whole() -> None:
    response = Client().post("/answer", json={"question": "What does a parcel cost?"[:20]})
    assert response.status_code == 200
    assert json.loads(response.json()["body"]) == {"question": "What does a parcel c"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be JSON like"),
        (b"{", "must be JSON like"),
        (b"\xff", "must be JSON like"),
        (b"[]", "must be JSON like"),
        (b"{}", "must be JSON like"),
        (b'{"question": 7}', "must be JSON like"),
        (b'{"question": null}', "must be JSON like"),
        (b"[" * 200, "must be JSON like"),
        (b'{"question": " \\n "}', "is empty"),
        (b'{"question": "twenty-one characters"}', "has 21 characters: 20 at most"),
        (b'{"question": "\\ud800"}', "half a character"),
    ],
)
@pytest.mark.parametrize("path", ["/answer", "/stream"])
def test_a_bad_question_is_a_400_that_says_what_to_send(path: str, body: bytes, words: str) -> None:
    response = Client().post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert words in response.json()["error"]


@given(body=st.binary(max_size=200))
def test_no_body_crashes_the_door(body: bytes) -> None:
    response = Client().post("/answer", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 400)


@given(question=st.text(min_size=1, max_size=20).filter(str.strip))
def test_the_size_limit_lets_every_allowed_question_in_however_it_is_escaped(question: str) -> None:
    for ascii_only in (True, False):
        body = json.dumps({"question": question}, ensure_ascii=ascii_only).encode("utf-8", "replace")
        response = Client().post("/answer", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 200


def test_a_huge_body_is_refused_before_it_is_read_whole() -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/answer", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(Guard(echo, None, 20)(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 413
    assert read == 2


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/vnd.bentoml+pickle"])
def test_only_json_is_read_so_that_no_foreign_page_can_post(kind: str) -> None:
    response = Client().post("/answer", content=b'{"question": "hi"}', headers={"Content-Type": kind})
    assert response.status_code == 415


def test_with_a_key_only_its_bearer_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_KEY", "correct horse")
    guarded = Client("DESK_KEY")
    for sent in ("", "Bearer", "Bearer ", "Bearer wrong", "Bearer ü", "Basic correct horse", "correct horse"):
        for path in ("/answer", "/stream", "/health", "/metrics", "/schema.json"):
            refused = guarded.post(path, json={"question": "hi"}, headers={"Authorization": sent.encode("latin-1")})
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
    for sent in ("Bearer correct horse", "bearer correct horse"):
        assert guarded.post("/answer", json={"question": "hi"}, headers={"Authorization": sent}).is_success


def test_the_page_and_the_probes_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_KEY", "correct horse")
    assert all(Client("DESK_KEY").request("GET", path).is_success for path in ("/", "/livez", "/readyz"))


def test_a_key_that_is_named_but_not_set_keeps_the_service_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DESK_KEY", raising=False)
    with pytest.raises(ParamsError, match="export DESK_KEY="):
        Guard(echo, "DESK_KEY", 20)
