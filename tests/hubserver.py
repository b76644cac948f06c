"""A model hub on this machine: enough of the real one's HTTP interface for its client to list and to download."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

COMMIT = "5" * 40


@dataclass
class Hub:
    """``repos`` maps "ORG/NAME" to a folder; those in ``gated`` are listed, but their files are refused."""

    repos: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        parts = path.partition("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = [*(parts[2:] if api else parts), "", ""]
        repo = f"{owner}/{name}"
        if repo not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if rest[0] == "revision" and rest[1] not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if api:
            listing = self._tree(repo) if rest[0] == "tree" else self._info(repo)
            return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()
        if repo in self.gated:
            return 401, {"X-Error-Code": "GatedRepo"}, b""
        data = (self.repos[repo] / rest[2]).read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, data

    def _info(self, repo: str) -> dict[str, Any]:
        names = [{"rfilename": path.name} for path in self.repos[repo].iterdir()]
        return {"id": repo, "sha": COMMIT, "siblings": names, "private": False, "tags": [], "downloads": 0, "likes": 0}

    def _tree(self, repo: str) -> list[dict[str, Any]]:
        files = self.repos[repo].iterdir()
        return [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40} for p in files]


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[Hub]:
    """A hub with ``repos`` that listens on this machine until the end of the block."""
    hub = Hub(repos)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append(self.path)
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def the_only_hub(repos: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with ``repos`` that the hub's client takes for the real one, with ``cache`` for its cache."""
    from huggingface_hub import constants

    with serve(repos) as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server
