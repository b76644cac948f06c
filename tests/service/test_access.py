"""Who may ask, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragvlm.errors import InputError
from ragvlm.service.access import Gate, check_host, read_tokens

TOKEN = "0123456789abcdef"  # noqa: S105 - of the test


def test_tokens_stand_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"# ours\n{TOKEN}\n\n  {TOKEN[::-1]} \n")
    assert read_tokens(tmp_path / "t") == (TOKEN, TOKEN[::-1])
    assert read_tokens(None) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [("short\n", "token 1 must have at least 16"), ("# none\n", "holds no token"), ("ä" * 20, "ASCII")],
)
def test_a_file_of_tokens_that_will_not_do(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says) as told:
        read_tokens(tmp_path / "t")
    assert "short" not in str(told.value)  # a token never reaches a message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_tokens(tmp_path / "absent")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_host(host, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])  # noqa: S104
def test_another_machine_needs_one(host: str) -> None:
    with pytest.raises(InputError, match="give --token-file"):
        check_host(host, ())
    check_host(host, (TOKEN,))


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"Bearer {TOKEN}", TOKEN), (f"bearer  {TOKEN}", TOKEN), (None, None), ("", None), (TOKEN, None),
        (f"Basic {TOKEN}", None), (f"Bearer {TOKEN}x", None), ("Bearer ", None), ("Bearer é", None),
    ],
)  # fmt: skip
def test_a_header(header: str | None, known: str | None) -> None:
    assert Gate((TOKEN,)).known(header) == known
    assert Gate().known(header) == ""


def test_a_bucket_fills_evenly_and_each_token_has_its_own() -> None:
    now = [0.0]
    gate = Gate(("a", "b"), per_minute=2, clock=lambda: now[0])
    assert [gate.wait("a"), gate.wait("a")] == [0, 0]
    assert gate.wait("a") == pytest.approx(30)
    assert gate.wait("b") == 0
    now[0] = 15
    assert gate.wait("a") == pytest.approx(15)
    now[0] = 30
    assert gate.wait("a") == 0
    now[0] = 10_000  # it never holds more than a minute's
    assert [gate.wait("a") == 0 for _ in range(3)] == [True, True, False]
    assert Gate(per_minute=0).wait("a") == 0
