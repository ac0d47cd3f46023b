"""What can be asked of the gateway over HTTP, as tables: routes, `/openapi.json`, `/docs` and WADL are made from them.

Paths are templates in the form of RFC 6570 level 1, `/studies/{study}`, below the service's own root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.rights import Action


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path or query parameter: what it is for, and its JSON Schema (OpenAPI 3.1)."""

    name: str
    text: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a resource.

    `name` is unique in the service and says which handler answers. `query` are names of the service's parameters;
    `any_query` says that further ones are taken (matching keys). `statuses` are those of success and of refusal.
    `needs` is what the caller has to be permitted (None: open to everybody); left out, it is for administrators.
    """

    method: str
    name: str
    text: str
    produces: Sequence[str] = ()
    consumes: Sequence[str] = ()
    query: Sequence[str] = ()
    any_query: bool = False
    statuses: Sequence[int] = (200,)
    needs: Action | None = Action.ADMIN


@dataclass(frozen=True, slots=True)
class Resource:
    """A path and what can be done with it."""

    path: str
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Service:
    """Resources below one root path, such as `/dicomweb`, and their parameters by name."""

    root: str
    title: str
    resources: Sequence[Resource]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def operations(self) -> Iterator[tuple[str, Operation]]:
        """Every operation with its whole path."""
        for resource in self.resources:
            for operation in resource.operations:
                yield self.root + resource.path, operation
