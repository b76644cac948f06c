"""A chat server on this computer (real HTTP), and tiny vision-language checkpoints."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tinyvlm
from chatdouble import ChatServerDouble
from vlmtools import load, new_tokens, prompt_of

import ragvlm as rv


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServerDouble]:
    for name in ("RAGVLM_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    double = ChatServerDouble()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            double.raw.append(body)
            double.headers.append(dict(self.headers))
            status, headers, answer = double.answer(self.path, body)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)
            except OSError:  # the client has given up waiting
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: object) -> None:
            """Keep stderr clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield double
    double.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """No hub, and one thread."""
    import torch
    from huggingface_hub import constants

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # models so small lose time to more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds the checkpoint of a family once; it ends a text after a few tokens."""
    root = tmp_path_factory.mktemp("vlm")

    def folder_of(family: str) -> Path:
        if family == "smolvlm2":
            pytest.importorskip("num2words")
        # the name says which kind of PaliGemma it is
        folder = root / {"paligemma": "paligemma-3b-mix-224", "paligemma2": "paligemma2-3b-mix-224"}.get(family, family)
        if not folder.exists():
            tinyvlm.build(family, folder)
            tinyvlm.give_an_end(folder, new_tokens(load(folder), prompt_of())[1])
        return folder

    return folder_of


@pytest.fixture(scope="session")
def blood(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> rv.Index:
    """An index, opened from disk, of twelve stained blood smears with their captions."""
    root, source = tmp_path_factory.mktemp("blood"), shared_data / "blood-cells"
    rows = (source / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:12]
    (root / "images").mkdir()
    for row in rows:
        name = json.loads(row)["file_name"]
        (root / name).symlink_to(source / name)
    (root / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    rv.Index.build(root, root / "index")
    return rv.Index.open(root / "index")


@pytest.fixture
def altered(folders: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies the tiny LLaVA with another configuration."""

    def alter(family: str = "llava", **changes: Any) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(folders(family), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    return alter
