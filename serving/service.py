"""The service inside a Bento: POST /answer, POST /stream, GET /health, and a chat page at /.

    curl -s localhost:3000/answer -H 'Content-Type: application/json' -d '{"question": "…"}'
    curl -sN localhost:3000/stream -H 'Content-Type: application/json' -d '{"question": "…"}'

/stream sends server-sent events: `{"text": …}` for each piece, then one `{"answer": …}` with the whole Answer, or
`{"error": …}`. BentoML itself adds /livez, /readyz and /metrics.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read once, when bentoml is first used

import anyio
import bentoml
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from contracts.answers import Answer
from contracts.errors import DataError, FreshtuneError
from contracts.files import read_json
from contracts.release import MANIFEST, Release
from serving.guard import Guard

# This file runs from the Bento's src/ directory, beside release/. Read elsewhere, there is nothing to serve.
RELEASE = Path(__file__).resolve().parents[1] / "release"
SETTINGS: dict[str, Any] = read_json(RELEASE / "settings.json") if RELEASE.is_dir() else {}
TIMEOUT = SETTINGS.get("serving", {}).get("timeout_seconds", 120)
API_KEY_ENV = SETTINGS.get("serving", {}).get("api_key_env")
MAX_CHARACTERS = SETTINGS.get("assistant", {}).get("max_question_characters", 2000)
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def page(_: Request) -> Response:
    """The chat page, one file with no request to anywhere else."""
    return FileResponse(Path(__file__).with_name("page.html"), headers=PAGE_HEADERS)


async def health(_: Request) -> Response:
    """What is being served, and whether the index can be asked."""
    return JSONResponse(await run_sync(bentoml.get_current_service().health))


class Assistant:
    """Answers questions from one release: loaded once, proved by its hashes, one question at a time.

    FRESHTUNE_STORE names a live store that takes the place of the release's index snapshot, so that a reindex reaches
    a running service. Generation is not reentrant, so requests take turns; the ones that wait hold no thread.
    """

    def __init__(self) -> None:
        from assistant.release import open_release

        store = os.environ.get("FRESHTUNE_STORE")
        self.assistant = open_release(RELEASE, store=Path(store) if store else None)
        if self.assistant.retriever:
            self.assistant.retriever.search("ready?", k=1)  # loads the embedder now and not for the first reader
        self.release = Release.model_validate(read_json(RELEASE / MANIFEST))
        self.turn = asyncio.Lock()

    @bentoml.api
    async def answer(self, question: str) -> Answer:
        """The whole answer, with its citations, sources and timings."""
        try:
            async with self.turn:
                return await run_sync(self.assistant.answer, question)
        except FreshtuneError as error:
            status = 400 if isinstance(error, DataError) else 503
            # BentoML sends a Response as it is.
            return JSONResponse({"error": str(error)}, status_code=status)  # type: ignore[return-value]

    @bentoml.api
    async def stream(self, question: str, ctx: bentoml.Context) -> AsyncGenerator[str, None]:
        """The answer as it is written, as server-sent events."""
        ctx.response.headers.update({"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        async with self.turn:
            pieces = self.assistant.stream(question)
            try:
                while (item := await run_sync(next, pieces, None)) is not None:
                    yield _event(answer=item.model_dump(mode="json")) if isinstance(item, Answer) else _event(text=item)
            except FreshtuneError as error:
                yield _event(error=str(error))
            finally:
                # A reader who went away stops the generation before the next question takes its turn.
                with anyio.CancelScope(shield=True):
                    await run_sync(pieces.close)

    def health(self) -> dict[str, object]:
        """Release, mode and the index content that is being read; `problems` says what is degraded."""
        release, problems, content = self.release, [], ""
        try:
            content = self.assistant.retriever.content if self.assistant.retriever else ""
        except FreshtuneError as error:
            problems.append(str(error))
        return {
            "status": "degraded" if problems else "ok",
            "release": release.id,
            "mode": release.mode,
            "index_content": content,
            "evaluated_content": release.index_content,
            "snapshot": release.snapshot,
            "problems": problems,
        }


def _event(**data: object) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


service = bentoml.service(name="freshtune", workers=1, traffic={"timeout": TIMEOUT, "max_concurrency": 32})(Assistant)
service.mount_asgi_app(Starlette(routes=[Route("/", page), Route("/health", health)]), path="/", name="page")
service.add_asgi_middleware(Guard, api_key_env=API_KEY_ENV, max_characters=MAX_CHARACTERS)
