"""Rendered resources of several parts: each in a media type that is acceptable for it (NEG-07), made while sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.requests import Request

from gateway import render
from gateway.dicomweb import multipart
from gateway.dicomweb.media_types import MediaRange, Offer, choose, not_acceptable
from gateway.dicomweb.renderings import Unit, body_of, content_type
from gateway.dicomweb.resources import Target, instance_url
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.ranges import REVALIDATE, Representation, etag_of, not_modified
from gateway.render import View
from storage.archive import Archive

LEFT_OUT = "{} of {} renderings are in no acceptable media type and are left out"

Chosen = Sequence[tuple[Unit, str]]
"""What is rendered, and the media type of each."""


def several(
    archive: Archive,
    request: Request,
    where: Target,
    units: Sequence[Unit],
    view: View,
    accepted: Sequence[Sequence[MediaRange]],
    headers: dict[str, str],
) -> Representation:
    """One part for each rendering, in order (RP-09), each in a type that is acceptable for it, made while sent."""
    chosen = _choose_each(units, accepted)
    if not chosen:
        raise not_acceptable([Offer(name, True) for unit in units for name in unit.types])
    if len(chosen) < len(units):
        warn(headers, where.root, LEFT_OUT.format(len(units) - len(chosen), len(units)))
    names = [f"{unit.identity} {media_type}" for unit, media_type in chosen]
    identity = ("pictures", render.VERSION, where.url, repr(view), *names)
    etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
    media_type = multipart.content_type(chosen[0][1], boundary)
    headers["Cache-Control"] = REVALIDATE
    body: Known | Flowing
    if not_modified(request.headers, f'"{etag}"'):
        body = Known([])
    elif request.method == "HEAD":
        body = Flowing(iter(()))
    else:
        body = settle(multipart.flow(_parts(archive, where.root, chosen, view), boundary))
    return Representation(body, media_type, etag, headers)


def _parts(archive: Archive, root: str, chosen: Chosen, view: View) -> Iterator[multipart.Part]:
    for unit, media_type in chosen:
        located = unit.located
        url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
        location = url if unit.frame is None else f"{url}/frames/{unit.frame}"
        yield multipart.Part(content_type(unit, media_type), location, body_of(archive, unit, view, media_type))


def warn(headers: dict[str, str], root: str, text: str) -> None:
    """Add a Warning to those that are there."""
    headers["Warning"] = ", ".join(filter(None, (headers.get("Warning"), f"299 {root}: {text}")))


def offers_of(single: Sequence[str], several: Sequence[str]) -> list[Offer]:
    """Offers of single bodies, then of parts."""
    return [*(Offer(name) for name in single), *(Offer(name, multipart=True) for name in several)]


def _choose_each(units: Sequence[Unit], accepted: Sequence[Sequence[MediaRange]]) -> list[tuple[Unit, str]]:
    """The media type of each rendering; those that none is acceptable for are left out."""
    known: dict[tuple[str, ...], str | None] = {}
    chosen = []
    for unit in units:
        if unit.types not in known:
            offer = choose(accepted, offers_of((), unit.types))
            known[unit.types] = offer.media_type if offer is not None else None
        media_type = known[unit.types]
        if media_type is not None:
            chosen.append((unit, media_type))
    return chosen
