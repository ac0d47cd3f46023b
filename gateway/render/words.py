"""Names, dates and times as people read them."""

from __future__ import annotations


def person_name(text: str | None) -> str:
    """A person's name as it is read: `Family, Given Middle`, in the representations that are there."""
    groups = []
    for group in (text or "").split("="):
        family, *given = [part.strip() for part in group.split("^")]
        rest = " ".join(part for part in given if part)
        if family or rest:
            groups.append(f"{family}, {rest}" if family and rest else family or rest)
    return " / ".join(groups)


def moment(text: str | None) -> str:
    """A DA, TM or DT as ISO 8601 writes it; as it stands where it is none."""
    text = (text or "").strip()
    digits = text.partition(".")[0].partition("+")[0]
    if not digits.isdigit():
        return text
    if len(digits) == 8:
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    if len(digits) == 6:
        return f"{digits[:2]}:{digits[2:4]}:{digits[4:]}"
    if len(digits) in (12, 14):
        time = ":".join(digits[at : at + 2] for at in range(8, len(digits), 2))
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {time}"
    return text
