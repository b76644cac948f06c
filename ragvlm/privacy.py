"""What must never reach an index: columns that name a person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_PERSON = "patient|subject|participant|person|donor|client"
_NAMES = "firstname forename fullname givenname lastname maidenname middlename otherpatientnames personname surname"
_STAFF = "operatorname physicianname referringphysician referringphysicianname"
_NUMBERS = (
    "accessionno accessionnumber accountnumber driverslicense healthinsurancenumber healthplannumber "
    "hospitalnumber insurancenumber ipaddress medicalrecordno medicalrecordnumber mrn nationalid nationalidnumber "
    "nhsnumber otherpatientids patientid patientids patientno patientnumber socialsecurity socialsecurityno "
    "socialsecuritynumber ssn"
)
_DATES = "birthdate birthday dateofbirth dateofdeath deathdate dob"
_CONTACTS = (
    "address addressline addressline1 addressline2 cellphone email emailaddress fax faxnumber homeaddress mobile "
    "mobilenumber mobilephone phone phoneno phonenumber postalcode postcode street streetaddress telephone "
    "telephonenumber zip zipcode"
)
_DIRECT = frozenset(f"{_NAMES} {_STAFF} {_NUMBERS} {_DATES} {_CONTACTS}".split())
_OF_PERSON = _DIRECT | {"name", "names"}
_PREFIX = re.compile(rf"^(?:the)?(?:{_PERSON})s?")
_SUBJECT = re.compile(
    rf"(?:patient|participant|donor|person|client)s?|(?:{_PERSON}|case)s?(?:ids?|identifier|uid|key|code|no|nr|num|number)"
)
_SUFFIX = re.compile(rf"(?:of)?(?:the)?(?:{_PERSON})s?$")


@lru_cache(maxsize=4096)  # asked for each cell of a corpus
def is_identifier_column(name: str) -> bool:
    """Whether a column of this name holds a direct personal identifier: a name, number, date or address.

    Case, blanks and punctuation do not count, and a person may stand before or after: ``PatientName``,
    ``name_of_patient``, ``patient's date of birth``, ``subject-email`` and ``MRN`` all match; ``file_name``,
    ``subject_id`` and ``name`` do not. Names alone are looked at, never the values.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _DIRECT:
        return True
    return any(bare != plain and bare in _OF_PERSON for bare in (_PREFIX.sub("", plain), _SUFFIX.sub("", plain)))


def _points_at_person(name: str) -> bool:
    """Whether a column of this name tells persons apart; the one that is the subject isn't asked, being hashed."""
    return _SUBJECT.fullmatch(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


def without_identifiers(values: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """``values`` without identifier columns, at any depth of nesting, and the names that were left out.

    Second names of the subject (``patient``, ``case_id``, ``donor_no``) go too: in plain they would undo the
    hash of the first.
    """
    dropped: set[str] = set()
    return dict(_kept(values, dropped)), dropped


def _kept(values: Mapping[str, Any], dropped: set[str]) -> list[tuple[str, Any]]:
    dropped |= {name for name in values if is_identifier_column(name) or _points_at_person(name)}
    return [(name, _clean(value, dropped)) for name, value in values.items() if name not in dropped]


def _clean(value: Any, dropped: set[str]) -> Any:
    if isinstance(value, Mapping):
        return dict(_kept(value, dropped))
    return [_clean(item, dropped) for item in value] if isinstance(value, list | tuple) else value
