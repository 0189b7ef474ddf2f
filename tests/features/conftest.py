"""A shell in an empty directory, and a local server in place of the hosts that definitions name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Shell, shell

__all__ = ["Shell", "shell"]


class Host:
    """Answers every GET with its path, and chat completions with what they were asked; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(("GET", self.path, None))
                self._answer({"path": self.path, "sizes": [3, 4]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                host.asked.append(("POST", self.path, body))
                said = f"I read: {body['messages'][-1]['content']}"
                self._answer({
                    "model": body["model"], "usage": {"total_tokens": 7},
                    "choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
                })  # fmt: skip

            def _answer(self, value: Any) -> None:
                text = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host(shell: Shell) -> Iterator[Host]:
    made = Host()
    shell.env |= {
        "STEPWELL_HTTP_ALLOW": "127.0.0.1", "OPENAI_BASE_URL": f"{made.url}/v1", "OPENAI_API_KEY": "none",
        "STEPWELL_LLM_MODEL": "small",
    }  # fmt: skip
    yield made
    made.close()
