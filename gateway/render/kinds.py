"""What an instance can be shown as: its Resource Category (PS3.18 8.7.4), by SOP class and transfer syntax."""

from __future__ import annotations

from enum import Enum, auto

from gateway.dicom.uids import SYNTAXES
from storage.records import Located

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_STRUCTURED_REPORTS = _STORAGE + "88."
"""Key Object Selection Documents are among them."""
_WAVEFORMS = _STORAGE + "9."
_WAVEFORM_STATES = _STORAGE + "9.100."
_DOCUMENTS = _STORAGE + "104."
RT_DOSE = _STORAGE + "481.2"
SEGMENTATIONS = frozenset({_STORAGE + "66.4", _STORAGE + "66.7"})
"""Segmentation and Label Map Segmentation; surfaces have no pixels."""
GREY_STATES = frozenset({_STORAGE + "11.1", _STORAGE + "11.5"})
COLOR_STATE, PSEUDO_COLOR_STATE, BLENDING_STATE = _STORAGE + "11.2", _STORAGE + "11.3", _STORAGE + "11.4"
STATES = GREY_STATES | {COLOR_STATE, PSEUDO_COLOR_STATE, BLENDING_STATE}
"""Softcopy presentation states of single images (PS3.3 A.33)."""
_OTHER_STATES = {
    _STORAGE + "11.6": "of planes through a volume (Grayscale Planar MPR)",
    _STORAGE + "11.7": "of planes through volumes (Compositing Planar MPR)",
    _STORAGE + "11.8": "of blended inputs (Advanced Blending)",
    _STORAGE + "11.9": "of a volume (Volume Rendering)",
    _STORAGE + "11.10": "of a volume (Segmented Volume Rendering)",
    _STORAGE + "11.11": "of several volumes (Multiple Volume Rendering)",
    _STORAGE + "11.12": "of images with a Modality LUT each (Variable Modality LUT)",
}
"""Presentation states that have no picture here, and what they would be a picture of."""


class Kind(Enum):
    """What an instance is shown as."""

    FRAMES = auto()
    """Pictures of its frames."""
    VIDEO = auto()
    """Its own stored stream."""
    DOCUMENT = auto()
    """Its own encapsulated document."""
    REPORT = auto()
    """Text: html, plain or XML."""
    WAVEFORM = auto()
    """A drawing of its channels."""
    STATE = auto()
    """Pictures of the images that it refers to."""
    NOTHING = auto()
    """Nothing: raw data, plans, structure sets, registrations (IMG-22)."""


def kind_of(located: Located) -> Kind:
    """The kind of a stored instance."""
    sop_class = located.sop_class_uid
    if sop_class.startswith(_DOCUMENTS):
        return Kind.DOCUMENT
    if located.frames is not None:
        facts = SYNTAXES.get(located.transfer_syntax_uid)
        return Kind.VIDEO if facts is not None and facts.video else Kind.FRAMES
    if sop_class.startswith(_STRUCTURED_REPORTS):
        return Kind.REPORT
    if sop_class.startswith(_WAVEFORMS) and not sop_class.startswith(_WAVEFORM_STATES):
        return Kind.WAVEFORM
    return Kind.STATE if sop_class in STATES else Kind.NOTHING


def why_nothing(located: Located) -> str:
    """Why a stored instance of kind NOTHING has no picture, and what there is instead."""
    state = _OTHER_STATES.get(located.sop_class_uid)
    if state is not None:
        return f"presentation states {state} are not rendered; the images that it refers to are, each by itself"
    return "nothing here has a picture"
