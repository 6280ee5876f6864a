"""Routes of the page: one document, its modules and style, and the sample video."""

from importlib import resources

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)
ASSETS = resources.files("co3d").joinpath("assets")
PAGE = resources.files("co3d.serving").joinpath("page")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
FILES = {
    one.name: (one.read_bytes(), TYPES[suffix])
    for one in PAGE.iterdir()
    if (suffix := "." + one.name.rpartition(".")[2]) in TYPES
}
"""The page's files, read once at start, so that a client's path is never opened."""


@router.get("/")
@router.get("/live")
@router.get("/events")
@router.get("/streams/{key}")
def show_page() -> Response:
    """The document; its script shows the view of its address."""
    return _answer("index.html")


@router.get("/page/{name}")
def read_file(name: str) -> Response:
    """A module, a style or a picture of the page."""
    if name not in FILES or name == "index.html":
        raise HTTPException(404, "no such file")
    return _answer(name)


@router.get("/sample.mp4")
def read_sample() -> FileResponse:
    """The bundled sample video."""
    return FileResponse(str(ASSETS.joinpath("sample.mp4")), media_type="video/mp4")


def _answer(name: str) -> Response:
    content, media_type = FILES[name]
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})
