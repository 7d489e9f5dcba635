"""The routes of the page, and how it is served: starlette and uvicorn, on loopback."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.resources import files

import uvicorn
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from swarm.errors import SwarmError
from swarm.report.figures.drawing import Theme
from swarm.report.page import plots_script, style_sheet
from swarm.watch.watching import LOOK_EVERY_S
from swarm.watch.web.guard import HEADERS, refusal
from swarm.watch.web.hub import Hub
from swarm.watch.web.page import page, sections

LOOPBACK = "127.0.0.1"
SILENCE_S = 15.0  # after which a stream sends a comment, so that a dead connection is noticed
MAX_BODY_BYTES = 16_384
_TYPES = {"page.js": "text/javascript", "page.css": "text/css"}
_SHARED = {"page.js": plots_script, "page.css": style_sheet}

Endpoint = Callable[[Request], Awaitable[Response]]


def application(hub: Hub, token: str, ended: Callable[[], bool] = lambda: False) -> Starlette:
    """Every route asks `guard` first. `ended`: the server is to stop, so the streams do."""

    async def first(request: Request) -> Response:
        return HTMLResponse(page(hub.frame(), token, may_steer=hub.may_steer()))

    async def asset(request: Request) -> Response:
        name = request.url.path.lstrip("/")
        own = (files("swarm.watch.web") / name).read_text(encoding="utf-8")
        return Response(_SHARED[name]() + own, media_type=_TYPES[name])

    async def plotly(request: Request) -> Response:
        return Response(
            get_plotlyjs(), media_type="text/javascript", headers={"Cache-Control": "private, max-age=86400"}
        )

    async def figure(request: Request) -> Response:
        theme = Theme.DARK if request.query_params.get("theme") == "dark" else Theme.LIGHT
        return Response(hub.figure(request.path_params["name"], theme), media_type="application/json")

    async def table(request: Request) -> Response:
        return HTMLResponse(hub.table(request.path_params["name"]))

    async def events(request: Request) -> Response:
        return StreamingResponse(stream(hub, ended), media_type="text/event-stream")

    async def steer(request: Request) -> Response:
        word = await _word(request)
        if word is None:
            return JSONResponse({"said": "that is no word to the workers"}, 400)
        try:
            said = await run_in_threadpool(partial(hub.told, hub.frame().study_id, *word))
        except SwarmError as error:
            return JSONResponse({"said": str(error)}, 409)
        return JSONResponse({"said": said})

    guarded = partial(_guarded, token)
    routes = [
        Route("/", guarded(first)),
        *(Route(f"/{name}", guarded(asset)) for name in _TYPES),
        Route("/plotly.js", guarded(plotly)),
        Route("/figure/{name}", guarded(figure)),
        Route("/table/{name}", guarded(table)),
        Route("/events", guarded(events)),
        Route("/steer", guarded(steer), methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _guarded(token: str, endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        why = refusal(token, request.method, request.headers, request.query_params)
        if why is not None:
            return PlainTextResponse(f"{why}\n", 403, headers=HEADERS)
        try:
            response = await endpoint(request)
        except KeyError:
            response = PlainTextResponse("there is no such thing here\n", 404)
        except (SwarmError, OSError) as error:
            response = PlainTextResponse(f"{error}\n", 503)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return answer


async def stream(hub: Hub, ended: Callable[[], bool]) -> AsyncIterator[str]:
    """Server-sent events: the sections that have changed, at most once a second; all of them at first."""
    shown: dict[str, str] = {}
    silent_s = 0.0
    while not ended():
        try:
            seen = hub.frame()
        except (SwarmError, OSError):  # the brain is being put back: the next look may see it
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        now = sections(seen)
        news = {name: text for name, text in now.items() if shown.get(name) != text}
        if news:
            shown, silent_s = now, 0.0
            yield f"data: {json.dumps({'seq': seen.seq, 'sections': news})}\n\n"
        elif silent_s >= SILENCE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_EVERY_S)
        silent_s += LOOK_EVERY_S


async def _word(request: Request) -> tuple[str, str, str] | None:
    """(action, subject, text) of a small JSON object; None for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    word = tuple(fields.get(name, "") for name in ("action", "subject", "text"))
    if not all(isinstance(part, str) for part in word):
        return None
    return word[0], word[1], word[2]


def listening(port: int) -> socket.socket:
    """A socket on loopback at this port, or at a free one where it is taken."""
    for one in (port, 0):
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((LOOPBACK, one))
            place.listen(128)  # so that the address works from the moment that it is printed
        except OSError:
            place.close()
            if one == 0:
                raise
        else:
            return place
    raise AssertionError("a free port is always tried")


def serve(hub: Hub, token: str, place: socket.socket) -> None:
    """Until Ctrl-C or SIGTERM, which it takes itself."""
    server_of(hub, token).run(sockets=[place])


def server_of(hub: Hub, token: str) -> uvicorn.Server:
    """Not running yet. Its streams end when it is told to."""
    made: list[uvicorn.Server] = []
    config = uvicorn.Config(
        application(hub, token, lambda: made[0].should_exit),
        log_level="error",
        access_log=False,  # it would hold the token
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=5,
        limit_concurrency=64,
    )
    made.append(uvicorn.Server(config))
    return made[0]
