"""POST /reindex: a program elsewhere says that documents changed, and a run of the served deployment starts.

A Prefect server of one's own has events and automations, but no webhooks: this is the missing door, with a key. It
takes the key as GitHub (a signature of the body), GitLab (`X-Gitlab-Token`) and everybody else (a bearer token) send it.
"""

import contextvars
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from prefect.deployments.flow_runs import arun_deployment

from contracts.errors import BusyError
from contracts.params import FOLDER, Params, secret

_MOST_BYTES = 1 << 20
_START_SECONDS = 15


@contextmanager
def listening(params: Params) -> Iterator[str]:
    """Answer on `schedule.webhook` until the block ends; yields the address.

    Raises:
        BusyError: the port is taken.
        ParamsError: the variable with the key is not set.
    """
    hook = params.schedule.webhook
    assert hook
    key = secret(hook.key_env) or ""
    with socket.socket() as probe:
        if probe.connect_ex((hook.host, hook.port)) == 0:
            raise BusyError(f"`schedule.webhook.port` {hook.port} is taken on {hook.host}: free it, or choose another")
    settings = uvicorn.Config(app(params, key), host=hook.host, port=hook.port, log_level="warning", ws="none")
    server = uvicorn.Server(settings)
    here = contextvars.copy_context()  # it holds which Prefect server this is about
    thread = threading.Thread(target=here.run, args=[server.run], daemon=True)
    thread.start()
    end = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise BusyError(f"nothing can listen on {hook.host}:{hook.port}: correct `schedule.webhook` in params.yaml")
        time.sleep(0.05)
    try:
        yield f"http://{hook.host}:{hook.port}"
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)


def app(params: Params, key: str) -> FastAPI:
    """The endpoint: POST /reindex for all documents, POST /reindex/SOURCE for those of one source.

    Answers 202 with the id of the run, which starts within seconds, 401 to a wrong key, 404 to an unknown source.
    """
    known = {FOLDER, *(source.name for source in params.sources)}
    made = FastAPI(title=f"{params.project}: documents changed", docs_url=None, redoc_url=None, openapi_url=None)

    async def started(request: Request, only: list[str] | None) -> dict[str, str]:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                raise HTTPException(413, "the body is larger than 1 MiB")
        if not proved(request.headers, body, key):
            raise HTTPException(401, "wrong key: send it as a bearer token, or sign the body with it")
        if only and only[0] not in known:
            raise HTTPException(404, f"no source {only[0]}: one of {', '.join(sorted(known))}")
        run = await arun_deployment(
            f"reindex/{params.project}",
            parameters={"only": only, "overlap": params.schedule.overlap},
            timeout=0,
            as_subflow=False,
        )
        return {"flow_run": str(run.id), "name": run.name}

    @made.post("/reindex", status_code=202)
    async def everything(request: Request) -> dict[str, str]:
        return await started(request, None)

    @made.post("/reindex/{source}", status_code=202)
    async def one(source: str, request: Request) -> dict[str, str]:
        return await started(request, [source])

    return made


def proved(headers: Mapping[str, str], body: bytes, key: str) -> bool:
    """Whether the sender of `body` knows the key. Compared in constant time; an empty key proves nothing."""
    if not key:
        return False
    if signature := headers.get("x-hub-signature-256"):
        wanted = "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(signature.encode(), wanted.encode())
    given = headers.get("x-gitlab-token") or headers.get("authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(given.encode(), key.encode())
