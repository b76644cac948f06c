"""What can be asked over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from ragvlm.errors import InputError
from ragvlm.service import served as tasks
from ragvlm.service.desk import Desk
from ragvlm.types import Query

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent can't be used; `detail` says why"},
    401: {"description": "No known token"},
    413: {"description": "Larger than may be sent"},
    429: {"description": "Too many wait, or too many were asked by this token; see Retry-After"},
    504: {"description": "Not done in time"},
}
Picture = Annotated[UploadFile, File(description="A picture: JPEG, PNG, TIFF, DICOM, ...")]
Subject = Annotated[str | None, Form(description="The picture's subject: its own references are left out")]
Question = Annotated[str | None, Form(examples=["How many white blood cells are there?"])]
Words = Annotated[str | None, Form(examples=["red blood cells"])]
Labels = Annotated[list[str], Form(min_length=2, max_length=1000, examples=[["neutrophil", "lymphocyte"]])]

answers = APIRouter(responses=ERRORS)
state = APIRouter()


@answers.post("/describe")
async def describe(request: Request, image: Picture, subject_id: Subject = None, question: Question = None) -> Any:
    """Describe a picture from its nearest references, or abstain."""
    desk = _desk(request)
    return await desk.run(request, tasks.describe, question or None, await desk.picture(image, subject_id))


@answers.post("/ask")
async def ask(
    request: Request,
    image: Picture,
    question: Annotated[str, Form(min_length=1, max_length=1000, examples=["Is there a neutrophil?"])],
    options: Annotated[list[str] | None, Form(description="The answers that are allowed", max_length=100)] = None,
    subject_id: Subject = None,
) -> Any:
    """Answer a question about a picture from the references that are near to both."""
    desk = _desk(request)
    return await desk.run(request, tasks.ask, options, await desk.picture(image, subject_id, question))


@answers.post("/search")
async def search(
    request: Request,
    image: Annotated[UploadFile | None, File()] = None,
    text: Words = None,
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    subject_id: Subject = None,
) -> Any:
    """The nearest references of a picture, of words, or of both together."""
    desk = _desk(request)
    if image is not None:
        query = await desk.picture(image, subject_id, text)
    elif text and text.strip():
        query = Query(id="words", text=text, subject_id=subject_id or None)
    else:
        raise InputError("nothing to look for: send a picture as 'image', words as 'text', or both")
    return await desk.run(request, tasks.search, {"k": k}, query)


@answers.post("/classify")
async def classify(request: Request, image: Picture, labels: Labels) -> Any:
    """How probable labels are for a picture, by an encoder whose towers share a space."""
    desk = _desk(request)
    return await desk.run(request, tasks.classify, labels, await desk.picture(image))


@state.get("/health")
async def health() -> Mapping[str, str]:
    """The process lives."""
    return {"status": "ok"}


@state.get("/ready", responses={503: {"description": "No room in the queue"}})
async def ready(request: Request, response: Response) -> Mapping[str, bool]:
    """There is room for another request."""
    desk = _desk(request)
    room = desk.batcher.waiting < desk.limits.queue
    response.status_code = 200 if room else 503
    return {"ready": room}


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
