"""The policy: which rights follow from who somebody is."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.errors import Forbidden
from gateway.policy import MOST_KNOWN, Limits, Policy, Role, Who, of_scopes
from gateway.rights import EVERYTHING, NOTHING, Action, Rights
from storage.query import lies_within
from storage.records import Value

TODAY = datetime.date(2026, 6, 15)


def role(**values: Any) -> Role:
    return Role.model_validate({"name": "a role", **values})


def sees(rights: Rights, action: Action, **values: Value) -> bool:
    return rights.may(action) and lies_within(rights.within(action), values)


def test_nothing_is_granted_that_is_not_listed() -> None:
    for action in Action:
        assert not NOTHING.may(action)
        with pytest.raises(Forbidden, match=action.value):
            NOTHING.within(action)


def test_rights_of_two_roles_add_up() -> None:
    north = Limits.model_validate({"may": ["read"], "studies": [{"InstitutionName": "North"}]}).rights(Who("x"))
    south = Limits.model_validate({"may": ["read", "delete"], "studies": [{"InstitutionName": "South"}]}).rights(
        Who("x")
    )
    both = north | south
    assert sees(both, Action.READ, InstitutionName="North")
    assert sees(both, Action.READ, InstitutionName="South")
    assert not sees(both, Action.DELETE, InstitutionName="North")
    assert not sees(both, Action.READ, InstitutionName="West")
    assert sees(both | EVERYTHING, Action.READ, InstitutionName="West")


def test_rights_are_worked_out_again_on_another_day_and_for_everybody_else() -> None:
    policy = Policy(
        [role(subjects=["anna", "ben"], may=["read"], studies=[{"newer_than_days": 1, "PatientID": "{id}"}])]
    )
    anna, ben = (Who(name, subject=name, claims={"id": name}) for name in ("anna", "ben"))
    for _ in range(2):
        for who in (anna, ben):
            for day in (TODAY, TODAY + datetime.timedelta(days=10)):
                rights = policy.rights(who, day)
                assert sees(rights, Action.READ, PatientID=who.name, StudyDate=day.strftime("%Y%m%d"))
                assert not sees(rights, Action.READ, PatientID=who.name, StudyDate="20200101")
                assert not sees(rights, Action.READ, PatientID="carla", StudyDate=day.strftime("%Y%m%d"))
    assert policy.rights(anna, TODAY) is policy.rights(anna, TODAY)
    first = policy.rights(anna, TODAY)
    for number in range(MOST_KNOWN):
        policy.rights(Who(f"number {number}", subject="ben"), TODAY)
    assert policy.rights(anna, TODAY) is not first, "only so many are remembered"
    assert policy.rights(anna, TODAY) == first


def test_what_two_have_to_permit_is_what_both_do() -> None:
    north = Limits.model_validate({"may": ["read", "search"], "studies": [{"InstitutionName": "North"}]}).rights(
        Who("x")
    )
    ct = Limits.model_validate({"may": ["read"], "studies": [{"Modality": "CT"}, {"Modality": "MR"}]}).rights(Who("x"))
    both = north & ct
    assert sees(both, Action.READ, InstitutionName="North", ModalitiesInStudy="MR")
    assert not sees(both, Action.READ, InstitutionName="South", ModalitiesInStudy="MR")
    assert not sees(both, Action.READ, InstitutionName="North", ModalitiesInStudy="US")
    assert not both.may(Action.SEARCH)
    assert (north & EVERYTHING) == north


@pytest.mark.parametrize(
    ("scopes", "actions"),
    [
        ("dicom.read dicom.search", {Action.READ, Action.SEARCH}),
        ("dicom.admin", {Action.ADMIN}),
        ("system/ImagingStudy.rs", {Action.READ, Action.SEARCH}),
        ("user/*.cruds", {Action.READ, Action.SEARCH, Action.STORE, Action.DELETE}),
        ("system/ImagingStudy.read", {Action.READ, Action.SEARCH}),
        ("system/ImagingStudy.write", {Action.STORE, Action.DELETE}),
        ("system/ImagingStudy.*", {Action.READ, Action.SEARCH, Action.STORE, Action.DELETE}),
        ("system/Patient.rs openid profile dicom dicom.everything", set()),
        ("system/ImagingStudy.rs?modality=CT", set()),
        ("system/ImagingStudy.sr", set()),
        ("", set()),
    ],
)
def test_scopes_say_what_a_token_is_for(scopes: str, actions: set[Action]) -> None:
    """IHE-07, S-69: a scope that is not wholly understood grants nothing."""
    assert set(of_scopes(scopes.split(" "), {}).granted) == actions


def test_patient_scopes_see_their_patient_only() -> None:
    """S-69"""
    rights = of_scopes(["patient/ImagingStudy.rs"], {"patient": "P1"})
    assert sees(rights, Action.READ, PatientID="P1")
    assert not sees(rights, Action.READ, PatientID="P2")
    for claims in ({}, {"patient": ""}, {"patient": "*"}, {"patient": 7}, {"patient": "P?"}):
        assert not sees(of_scopes(["patient/ImagingStudy.rs"], claims), Action.READ, PatientID="P1"), claims


def test_without_roles_credentials_do_what_they_were_made_for() -> None:
    policy = Policy(())
    assert policy.rights(Who("token")) == EVERYTHING
    assert policy.rights(Who("key", key="k", limits=Rights.to([Action.READ]))) == Rights.to([Action.READ])
    assert policy.rights(Who("joe", subject="joe", scopes=())) == NOTHING
    assert policy.rights(Who("CT1", aet="CT1")) == EVERYTHING


def test_a_role_fits_when_all_that_it_names_fits() -> None:
    policy = Policy([role(may=["read"], claims={"groups": ["radiology", "it"], "realm.site": "north"})])

    def may(**claims: object) -> bool:
        return policy.rights(Who("joe", subject="joe", claims=claims, scopes=("dicom.read",))).may(Action.READ)

    assert may(groups=["it", "x"], realm={"site": "north"})
    assert may(groups="radiology", **{"realm.site": ["north"]})
    assert not may(groups=["x"], realm={"site": "north"})
    assert not may(groups=["it"], realm={"site": "south"})
    assert not may(groups=["it"])
    assert not may(groups={"it": True}, realm="north")


def test_a_role_about_a_kind_of_credentials_leaves_the_rest_of_that_kind_nothing() -> None:
    """Default deny; other kinds are not touched."""
    policy = Policy([role(may=["store"], aets="CT1")])
    assert policy.rights(Who("CT1", aet="CT1")) == Rights.to([Action.STORE])
    assert policy.rights(Who("CT2", aet="CT2")) == NOTHING
    assert policy.rights(Who("token")) == EVERYTHING


def test_roles_never_widen_scopes() -> None:
    policy = Policy([role(may=list(Action), subjects="joe")])
    assert policy.rights(Who("joe", subject="joe", scopes=("dicom.search",))) == Rights.to([Action.SEARCH])


def test_patterns_are_filled_in_from_claims_of_the_token() -> None:
    policy = Policy([role(may=["read"], claims={"iss": "x"}, studies=[{"InstitutionName": "{sites}"}])])

    def rights(**claims: object) -> Rights:
        return policy.rights(Who("joe", subject="joe", claims={"iss": "x", **claims}, scopes=("dicom.read",)))

    assert sees(rights(sites=["North", "South"]), Action.READ, InstitutionName="South")
    assert not sees(rights(sites=["North"]), Action.READ, InstitutionName="South")
    bad: tuple[dict[str, object], ...] = ({}, {"sites": []}, {"sites": "*"}, {"sites": ["N*"]}, {"sites": [7]})
    for claims in bad:
        assert not sees(rights(**claims), Action.READ, InstitutionName="North"), claims


def test_patterns_can_be_about_the_age_of_a_study() -> None:
    rights = Limits.model_validate({"may": ["read"], "studies": [{"newer_than_days": 30}]}).rights(Who("x"), TODAY)
    assert sees(rights, Action.READ, StudyDate="20260601")
    assert not sees(rights, Action.READ, StudyDate="20260101")
    assert not sees(rights, Action.READ)


@pytest.mark.parametrize(
    "values",
    [
        {"may": ["fly"]},
        {"may": []} | {"studies": [{}]},
        {"may": ["read"], "studies": [{"NoSuchAttribute": "x"}]},
        {"may": ["read"], "studies": [{"InstanceNumber": "1"}]},
        {"may": ["read"], "studies": [{"StudyDate": "yesterday"}]},
        {"may": ["read"], "studies": [{"InstitutionName": "*"}]},
        {"may": ["read"], "studies": [{"InstitutionName": []}]},
        {"may": ["read"], "studies": [{"InstitutionName": "{a}{b}"}]},
        {"may": ["read"], "studies": [{"newer_than_days": -1}]},
        {"may": ["read"], "studies": [{"newer_than_days": "x"}]},
        {"may": ["read"], "aet": "misspelt"},
    ],
)
def test_a_role_that_means_nothing_is_refused_at_start(values: dict[str, Any]) -> None:
    """A misspelt restriction must not become none."""
    with pytest.raises(ValidationError):
        role(**values)
