"""``ragvlm serve`` in a process of its own: real sockets, signals, and clients that misbehave."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import ragvlm as rv

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("serve")
    rv.simulate_corpus(place / "corpus", 12, 0, kinds=["blood_smear", "dna_nuclei"])
    rv.Index.build(rv.Corpus.load(place / "corpus"), place / "index")
    return place / "index"


@pytest.fixture(scope="module")
def picture(index: Path) -> bytes:
    return sorted((index.parent / "corpus" / "images").iterdir())[0].read_bytes()


@contextmanager
def serving(index: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address; it is killed at the end where it still lives."""
    call = [sys.executable, str(ROOT / "cli.py"), "serve", "--index", str(index), "--port", "0", *options]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert " answers on http://127.0.0.1:" in line, line + process.stderr.read()
            yield process, line.split(" answers on ")[1].split()[0]
        finally:
            process.kill()


def post(address: str, picture: bytes, **data: Any) -> httpx.Response:
    return httpx.post(f"{address}/describe", files={"image": ("p.png", picture)}, data=data, timeout=120)


def test_it_answers_beside_clients_that_dawdle_and_finishes_what_it_accepted(index: Path, picture: bytes) -> None:
    with serving(index, "--batch", "4", "--timeout", "60") as (process, address):
        host, port = address.removeprefix("http://").split(":")
        lazy = [socket.create_connection((host, int(port))) for _ in range(50)]
        for one in lazy:
            one.sendall(b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n")
        half = socket.create_connection((host, int(port)))
        half.sendall(b"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n--x")
        answers: list[int] = []
        clients = [
            threading.Thread(target=lambda: answers.append(post(address, picture).status_code)) for _ in range(9)
        ]
        for client in clients:
            client.start()
        while httpx.get(f"{address}/metrics").text.find("ragvlm_waiting 0.0") >= 0 and not answers:
            time.sleep(0.01)
        for one in (*lazy, half):
            one.close()
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(timeout=120)
        assert process.wait(timeout=120) in (0, -signal.SIGTERM)
        assert set(answers) == {200}


def test_more_than_may_wait_are_told_to_come_again(index: Path, picture: bytes) -> None:
    with serving(index, "--batch", "1", "--queue", "1") as (_, address):
        codes: list[tuple[int, str | None]] = []

        def ask() -> None:
            answer = post(address, picture)
            codes.append((answer.status_code, answer.headers.get("Retry-After")))

        clients = [threading.Thread(target=ask) for _ in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(timeout=120)
        assert {code for code, _ in codes} == {200, 429}
        assert all(after and int(after) >= 1 for code, after in codes if code == 429)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "10.1.2.3"], "can be reached from other machines: give --token-file"),
        (["--host", "not.a.host.invalid", "--token-file", "TOKENS"], "can't listen on not.a.host.invalid"),
        (["--token-file", "absent"], "absent: can't be read"),
        (["-g", "nobody"], "unknown generator 'nobody'"),
    ],
)
def test_what_it_refuses_is_one_line(index: Path, tmp_path: Path, options: list[str], says: str) -> None:
    (tmp_path / "TOKENS").write_text("0123456789abcdef\n")
    call = [sys.executable, str(ROOT / "cli.py"), "serve", "--index", str(index), "--port", "0", *options]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=os.environ, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


def test_a_port_that_is_taken(index: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        call = [sys.executable, str(ROOT / "cli.py"), "serve", "-i", str(index), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr
