"""Columns that identify a person, and those that only look like it."""

from __future__ import annotations

import pytest

from ragvlm.privacy import is_identifier_column, without_identifiers


@pytest.mark.parametrize(
    "name",
    [
        "patient_name",
        "name_of_patient",
        "PatientName",
        "patient's_name",
        "MRN",
        "ssn",
        "dob",
        "birth_date",
        "date_of_birth",
        "PatientBirthDate",
        "patient_birth_date",
        "address",
        "home-address",
        "phone",
        "Phone_Number",
        "email",
        "subject_email",
        "accession_number",
        "AccessionNumber",
        "patient_id",
        "first_name",
        "last_name",
        "surname",
        "zip",
        "postcode",
        "referring_physician_name",
        "donor_name",
        "date_of_birth_of_patient",
        "Medical_Record_Number",
        "social_security_number",
        "medical.record.no",
    ],
)
def test_identifiers(name):
    assert is_identifier_column(name)
    assert is_identifier_column(f" {name.upper()} ")


@pytest.mark.parametrize(
    "name",
    [
        "file_name",
        "name",
        "subject_id",
        "donor_id",
        "study_id",
        "image",
        "caption",
        "label",
        "organ",
        "age",
        "sex",
        "stain",
        "sample_name",
        "cell_type",
        "names",
        "mobility",
        "surnames_count",
        "zipped",
        "patient",
        "patient_age",
        "patient_sex",
        "subject",
        "nuclei",
        "telephoned",
        "",
        "日付",
    ],
)
def test_other_columns(name):
    assert not is_identifier_column(name)


def test_second_names_of_the_subject_are_left_out():
    names = ["patient", "case_id", "Participant ID", "donor_no", "subject_id", "patient-code", "clientUID"]
    others = {
        "subject": "x",
        "case": 2,
        "donor_age": 50,
        "study_id": 3,
        "sample_id": 4,
        "patient_sex": "f",
    }
    kept, dropped = without_identifiers(dict.fromkeys(names, "S1") | others)
    assert kept == others
    assert dropped == set(names)


def test_identifiers_are_left_out_at_any_depth():
    values = {
        "organ": "lung",
        "mrn": 7,
        "visit": {"PatientName": "A", "age": 50, "notes": [{"email": "a@b.c", "text": "clear"}, 3]},
    }
    kept, dropped = without_identifiers(values)
    assert kept == {"organ": "lung", "visit": {"age": 50, "notes": [{"text": "clear"}, 3]}}
    assert dropped == {"mrn", "PatientName", "email"}
    assert "mrn" in values
