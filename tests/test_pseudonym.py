from __future__ import annotations

from pathlib import Path

import pytest

from ragvlm import pseudonym
from ragvlm.errors import InputError


def test_pseudonyms_depend_on_name_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGVLM_SUBJECT_KEY", "a key of enough length")
    one = pseudonym.pseudonymizer()
    monkeypatch.setenv("RAGVLM_SUBJECT_KEY", "another key of enough length")
    two = pseudonym.pseudonymizer()
    assert one("Jane Doe") == one("Jane Doe") != one("John Doe")
    assert one("Jane Doe") != two("Jane Doe")
    assert one.fingerprint != two.fingerprint
    assert "Jane" not in one("Jane Doe")


def test_the_key_file_is_made_once_and_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAGVLM_SUBJECT_KEY", raising=False)
    monkeypatch.setattr(pseudonym, "_key_path", lambda: tmp_path / "config" / "subject.key")
    one = pseudonym.pseudonymizer()
    pseudonym._from_file.cache_clear()
    assert pseudonym.pseudonymizer() == one
    assert (tmp_path / "config" / "subject.key").stat().st_mode & 0o077 == 0


def test_a_short_or_damaged_key_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGVLM_SUBJECT_KEY", "short")
    with pytest.raises(InputError, match="16 characters"):
        pseudonym.pseudonymizer()
    monkeypatch.delenv("RAGVLM_SUBJECT_KEY")
    damaged = tmp_path / "subject.key"
    damaged.write_text("not hex")
    monkeypatch.setattr(pseudonym, "_key_path", lambda: damaged)
    with pytest.raises(InputError, match="not a subject key"):
        pseudonym.pseudonymizer()
