"""What a difference of rights means."""

from __future__ import annotations

from fltr_project.catalog.facts import Grants

from .verdict import Rules, Severity, Verdict


def _rights(want: Grants | None, have: Grants | None) -> Verdict:
    on, entry_role = next((each.on, each.role) for each in (have, want) if each)
    role = entry_role or "the owner"
    wanted, withheld = _sets(want)
    granted, revoked = _sets(have)
    more = sorted((granted - wanted) | (withheld - revoked))
    less = sorted((wanted - granted) | (revoked - withheld))
    # A function may act with its owner's rights, and on rows and relations that its caller chooses.
    calls = role == "PUBLIC" and on.startswith(("FUNCTION ", "PROCEDURE "))
    if more:
        meaning = f"{role} may {', '.join(more)} there, which the contract does not say."
    elif less:
        meaning = f"Statements of {role} that need {', '.join(less)} there are refused."
    else:
        meaning = f"{role} may do more or less there than the contract says."
    return Verdict(Severity.ERROR if more and calls else Severity.WARNING, meaning)


def _extra(want: None, have: Grants) -> Verdict:
    """Which programs there are, and what each may, is the operator's to say."""
    if have.role in {"PUBLIC", ""}:
        return _rights(want, have)
    meaning = "Rights of roles that the contract does not know are nobody's to take away here."
    return Verdict(Severity.NOTE, meaning)


def _sets(entry: Grants | None) -> tuple[set[str], set[str]]:
    return (set(entry.granted), set(entry.revoked)) if entry else (set(), set())


RULES: Rules = {
    (Grants, "missing"): _rights,
    (Grants, "extra"): _extra,
    (Grants, "granted"): _rights,
    (Grants, "revoked"): _rights,
}
