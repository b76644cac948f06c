"""The HTTP behind ``openai``: JSON to and fro, bounded retries, one clear line for everything that goes wrong.

urllib, not a client library: two requests without streaming need neither a pool nor an event loop.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ragvlm.errors import InputError, RagvlmError

MAX_ANSWER = 8_000_000  # bytes
MAX_WAIT = 60.0  # seconds between two tries
BUSY = frozenset({429, 500, 502, 503, 504})
NEXT = {
    400: "the server refuses the request: a model without eyes needs with_image=false, a long prompt fewer references",
    401: "set RAGVLM_API_KEY (or OPENAI_API_KEY) to a key that this server knows",
    403: "the key may not use this model: choose another, or ask for access",
    404: "check base_url (most end in /v1) and model",
    413: "the request is too large: lower max_side or give fewer references (k)",
    429: "the server is busy or its quota is used up: try later, or lower concurrency",
}


class RefusedError(RagvlmError):
    """The server finds the request itself wrong (HTTP 400, 422)."""


class ChatServer:
    """A server by its ``base_url``. Raises InputError for a base URL or a timeout that can't be."""

    def __init__(self, base_url: str | None, *, timeout: float, retries: int, backoff: float) -> None:
        given = base_url or os.environ.get("OPENAI_BASE_URL")
        if not given:
            raise InputError("openai: no base_url: give one, such as http://127.0.0.1:8000/v1, or set OPENAI_BASE_URL")
        if not _is_base(given):
            raise InputError(
                "base_url: give http://HOST:PORT/v1 or https://..., without user, password and query in it"
            )
        if timeout <= 0:
            raise InputError(f"timeout is {timeout}: choose seconds above 0")
        self.base_url = given.rstrip("/")
        self.timeout, self.retries, self.backoff = timeout, retries, backoff
        self._opener = urllib.request.build_opener(_NoRedirect)

    def only_model(self) -> str:
        """The one model that the server offers. Raises InputError that lists them where there are several."""
        answer = self._send("models", None)
        try:
            names = [str(row["id"]) for row in answer["data"]]
        except (KeyError, TypeError) as error:
            raise RagvlmError(f"{self.base_url}: does not list its models: name one (model=...)") from error
        if len(names) != 1:
            raise InputError(f"{self.base_url} offers {len(names)} models: choose with model={'|'.join(names[:20])}")
        return names[0]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to ``body``; a busy server is asked again. Raises RagvlmError."""
        return self._send(path, json.dumps(body).encode())

    def _send(self, path: str, body: bytes | None) -> Any:
        tried = 0
        while True:
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in BUSY or tried == self.retries:
                        raise self._refused(error) from error
                    wait = _asked_for(error)
                time.sleep(min(self.backoff * 2**tried if wait is None else wait, MAX_WAIT))
                tried += 1
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, TimeoutError):
                    raise self._late() from error
                raise RagvlmError(
                    f"{self.base_url}: can't be reached ({reason}): start the server or check base_url"
                ) from error

    def _once(self, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(f"{self.base_url}/{path}", data=body, headers={"Accept": "application/json"})  # noqa: S310 - the scheme is checked
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if key := _api_key():
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        with self._opener.open(request, timeout=self.timeout) as response:
            raw = response.read(MAX_ANSWER + 1)
        try:
            if len(raw) > MAX_ANSWER:
                raise ValueError(f"more than {MAX_ANSWER:,} bytes")
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RagvlmError(f"{self.base_url}: answers no JSON ({error}): check base_url, most end in /v1") from error

    def _refused(self, error: urllib.error.HTTPError) -> RagvlmError:
        step = NEXT.get(error.code, "see the server's log" if error.code >= 500 else "check base_url")
        kind = RefusedError if error.code in (400, 422) else RagvlmError
        return kind(f"{self.base_url}: HTTP {error.code} {_message(error)}: {step}")

    def _late(self) -> RagvlmError:
        return RagvlmError(
            f"{self.base_url}: no answer within {self.timeout:g} s: raise timeout, or lower max_tokens or concurrency"
        )


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        whole = parts.port != 0 and bool(parts.hostname)
    except ValueError:  # a port that is no number, a broken IPv6 address
        return False
    return whole and parts.scheme in {"http", "https"} and parts.username is None and not parts.query + parts.fragment


def _api_key() -> str:
    key = (os.environ.get("RAGVLM_API_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError("RAGVLM_API_KEY (or OPENAI_API_KEY) holds characters that no key has: set it again")
    return key


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # a redirect could take the prompt to another host, and would turn the POST into a GET
    def redirect_request(self, *_: Any) -> None:
        return None


def _asked_for(error: urllib.error.HTTPError) -> float | None:
    """Seconds in the header Retry-After, where it is a number."""
    try:
        return max(float(error.headers.get("Retry-After", "")), 0.0)
    except ValueError:
        return None


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says of its refusal, in one short line."""
    try:
        found = json.loads(error.read(20_000))
        found = found.get("error", found.get("detail", found.get("message", "")))
        text = found.get("message", "") if isinstance(found, dict) else found
    except (ValueError, RecursionError, AttributeError, OSError, http.client.HTTPException):
        text = ""
    words = " ".join(str(text or error.reason).split()) or "refused"
    return f"({words[:200]})"
