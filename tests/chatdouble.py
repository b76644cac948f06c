"""A chat server on this computer: real HTTP, answers that can be checked by eye."""

from __future__ import annotations

import json
import re
import threading
from typing import Any


class ChatServerDouble:
    """Repeats the first reference of each prompt. ``script``: answers (status, headers, body) that come before."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.models = ["tiny"]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.silent = threading.Event()
        self.hold = False
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.hold:
            self.silent.wait(20)
        if self.script:
            return self.script.pop(0)
        if path == "/v1/models":
            return 200, {}, json.dumps({"data": [{"id": name} for name in self.models]}).encode()
        if path != "/v1/chat/completions":
            return 404, {}, b"no such page"
        request = json.loads(body)
        self.requests.append(request)
        content = request["messages"][1]["content"]
        user = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        said = re.search(r'^\[1\] "(.*)"$', user, re.MULTILINE)
        return 200, {}, chat(f"{said[1]} [1]" if said else "Nothing.")


def chat(text: Any, reason: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"message": message, "finish_reason": reason}]}).encode()
