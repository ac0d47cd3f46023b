"""Which service answers which request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pynetdicom.dimse_primitives import C_GET, C_MOVE, N_ACTION
from pynetdicom.service_class import ServiceClass

from gateway.dimse import commands
from gateway.dimse.c_find import FindService
from gateway.dimse.c_get import GetService
from gateway.dimse.c_move import MoveService
from gateway.dimse.classes import COMMITMENT, GET_CLASSES, MOVE_CLASSES
from gateway.dimse.limits import Limits
from gateway.dimse.n_action import CommitmentService
from gateway.dimse.negotiation import FIND_CLASSES
from gateway.settings import Settings
from storage.archive import Archive

if TYPE_CHECKING:
    from gateway.dimse.association import Acceptor
    from gateway.dimse.messages import Request


class Services:
    """The services over one archive, besides Verification and Storage."""

    def __init__(self, archive: Archive, settings: Settings, limits: Limits) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits

    def find(self, association: Acceptor, request: Request, abstract_syntax: str) -> ServiceClass | None:
        """The service for this request; None when there is no such operation on this presentation context."""
        if isinstance(request, commands.Request):
            if request.field != commands.C_FIND_RQ or abstract_syntax not in FIND_CLASSES:
                return None
            return FindService(association, self._archive, self._settings.aet)
        if isinstance(request, C_GET) and abstract_syntax in GET_CLASSES:
            return GetService(association, self._archive, GET_CLASSES[abstract_syntax])
        if isinstance(request, C_MOVE) and abstract_syntax in MOVE_CLASSES:
            top = MOVE_CLASSES[abstract_syntax]
            return MoveService(association, self._archive, top, self._settings, self._limits)
        if isinstance(request, N_ACTION) and abstract_syntax == COMMITMENT:
            return CommitmentService(association, self._archive, self._settings)
        return None
