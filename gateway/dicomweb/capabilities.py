"""The Capabilities Description: what `OPTIONS` answers, in WADL or JSON (PS3.18 8.9 and Annex H)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

import orjson
from starlette.requests import Request

from gateway.dicomweb.catalogue import STUDIES, WADL
from gateway.dicomweb.media_types import Offer, negotiate
from gateway.dicomweb.resources import parameters, root, tries
from gateway.http.bodies import Known
from gateway.http.catalogue import Operation, Resource
from gateway.http.ranges import REVALIDATE, Representation, etag_of
from gateway.settings import Settings

NAMESPACE = "http://wadl.dev.java.net/2009/02"
OFFERS = (Offer(WADL), Offer("application/json"))
_TEMPLATE = re.compile(r"\{([a-z]+)\}")


@dataclass(slots=True)
class Node:
    """One segment of the resource tree. `path` is relative to the node above."""

    path: str
    operations: list[Operation] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


class Capabilities:
    """Describes the service, or one of its resources with all below it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def describe(self, request: Request, path: str) -> Representation:
        """`OPTIONS` of the resource with the template `path`; `/` is the service (GEN-16)."""
        base = root(request, self.settings.public_url)
        offer = negotiate(tries(request, parameters(request)), OFFERS)
        below = path.rstrip("/")
        found = [one for one in STUDIES.resources if one.path == path or one.path.startswith(below + "/")]
        nodes = tree(found)
        body = wadl(base, nodes) if offer.media_type == WADL else json(base, nodes)
        allowed = sorted(
            {operation.method for one in STUDIES.resources if one.path == path for operation in one.operations}
        )
        headers = {"Cache-Control": REVALIDATE, "Allow": allow(allowed)}
        return Representation(Known([body]), offer.media_type, etag_of(body.decode()), headers)


def allow(methods: Sequence[str]) -> str:
    """The Allow header of a resource with these methods: HEAD goes with GET, and OPTIONS is everywhere."""
    found = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}
    return ", ".join(sorted(found))


def tree(resources: Sequence[Resource]) -> list[Node]:
    """The resources as a tree: each below the longest other one that its path begins with."""
    found: list[Node] = []
    whole: list[tuple[str, Node]] = []
    for resource in sorted(resources, key=lambda one: one.path):
        parents = [(path, node) for path, node in whole if path != "/" and resource.path.startswith(path + "/")]
        above, parent = max(parents, key=lambda one: len(one[0])) if parents else ("", None)
        path = resource.path.removeprefix(above + "/") if above else resource.path
        node = Node(path, list(resource.operations))
        whole.append((resource.path, node))
        (found if parent is None else parent.nodes).append(node)
    return found


def wadl(base: str, nodes: Sequence[Node]) -> bytes:
    """The description as WADL (GEN-17)."""
    application = ElementTree.Element("application", {"xmlns": NAMESPACE})
    resources = ElementTree.SubElement(application, "resources", {"base": base})
    for node in nodes:
        _resource(resources, node)
    ElementTree.indent(application)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(application) + b"\n"


def _resource(parent: ElementTree.Element, node: Node) -> None:
    element = ElementTree.SubElement(parent, "resource", {"path": node.path})
    for name in _TEMPLATE.findall(node.path):
        attributes = {
            "name": name,
            "style": "template",
            "type": "xs:string",
            "xmlns:xs": "http://www.w3.org/2001/XMLSchema",
        }
        _documented(ElementTree.SubElement(element, "param", attributes), STUDIES.parameters[name].text)
    for operation in node.operations:
        _method(element, operation)
    for below in node.nodes:
        _resource(element, below)


def _method(parent: ElementTree.Element, operation: Operation) -> None:
    method = ElementTree.SubElement(parent, "method", {"name": operation.method, "id": operation.name})
    _documented(method, operation.text)
    request = ElementTree.SubElement(method, "request")
    if operation.produces:
        header = ElementTree.SubElement(request, "param", {"name": "Accept", "style": "header"})
        for name in operation.produces:
            ElementTree.SubElement(header, "option", {"value": name})
    for name in operation.query:
        _documented(
            ElementTree.SubElement(request, "param", {"name": name, "style": "query"}), STUDIES.parameters[name].text
        )
    for name in operation.consumes:
        ElementTree.SubElement(request, "representation", {"mediaType": name})
    for status in operation.statuses:
        response = ElementTree.SubElement(method, "response", {"status": str(status)})
        for name in operation.produces if status in (200, 202, 206) else ():
            ElementTree.SubElement(response, "representation", {"mediaType": name})


def _documented(element: ElementTree.Element, text: str) -> None:
    ElementTree.SubElement(element, "doc").text = text


def json(base: str, nodes: Sequence[Node]) -> bytes:
    """The same tree as JSON; PS3.18 names the type and leaves the form open."""
    return orjson.dumps({"application": {"resources": {"base": base, "resource": [_json(node) for node in nodes]}}})


def _json(node: Node) -> dict[str, object]:
    methods = [
        {
            "name": operation.method,
            "id": operation.name,
            "doc": operation.text,
            "accept": list(operation.produces),
            "contentType": list(operation.consumes),
            "query": list(operation.query),
            "statuses": list(operation.statuses),
        }
        for operation in node.operations
    ]
    found: dict[str, object] = {"path": node.path, "method": methods}
    if node.nodes:
        found["resource"] = [_json(below) for below in node.nodes]
    return found
