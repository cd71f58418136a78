"""yaml-language-server as an editor uses it: JSON over its standard streams. What it is asked it answers or the test ends."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
_LOCAL = ROOT / ".editor/node_modules/.bin/yaml-language-server"
SERVER = str(_LOCAL) if _LOCAL.exists() else shutil.which("yaml-language-server")
MISSING = "no node here" if NODE is None else "no yaml-language-server here" if SERVER is None else ""
DEADLINE_S = 60.0  # for one answer; it takes some 2 s to start on a busy machine
SETTINGS = {
    "yaml": {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}, "schemas": {}},
}


class Document(NamedTuple):
    uri: str
    faults: list[tuple[int, str]]  # line and message


class LanguageServer:
    """One server; documents are opened under any path with any text, so that no file need be written."""

    def __enter__(self) -> Self:
        assert SERVER is not None
        self._process = subprocess.Popen(
            [SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._faults: queue.Queue[dict[str, Any]] = queue.Queue()
        self._last = self._documents = 0
        threading.Thread(target=self._listen, daemon=True).start()
        text = {
            "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
            "hover": {},
            "publishDiagnostics": {},
        }
        capabilities = {"textDocument": text, "workspace": {"configuration": True}}
        self._ask("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": capabilities})
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": SETTINGS})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def open(self, folder: Path, text: str) -> Document:
        """A new document in that folder, once the server has looked at it."""
        self._documents += 1
        uri = (folder / f"document-{self._documents}.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        while (found := self._faults.get(timeout=DEADLINE_S))["uri"] != uri:
            pass
        return Document(uri, [(one["range"]["start"]["line"] + 1, one["message"]) for one in found["diagnostics"]])

    def completed(self, document: Document, line: int, column: int) -> dict[str, str]:
        """What it proposes at that place, with what it says of each."""
        answer = self._ask("textDocument/completion", self._place(document, line, column))
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return {one["label"]: _plain(one.get("documentation", "")) for one in items}

    def hover(self, document: Document, line: int, column: int) -> str:
        answer = self._ask("textDocument/hover", self._place(document, line, column))
        return _plain(answer["contents"]) if answer else ""

    @staticmethod
    def _place(document: Document, line: int, column: int) -> dict[str, Any]:
        return {"textDocument": {"uri": document.uri}, "position": {"line": line - 1, "character": column - 1}}

    def _ask(self, method: str, parameters: dict[str, Any]) -> Any:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": parameters})
        while (answer := self._answers.get(timeout=DEADLINE_S))["id"] != self._last:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _tell(self, method: str, parameters: dict[str, Any]) -> None:
        self._send({"method": method, "params": parameters})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        self._process.stdin.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while line := stream.readline():
            length = 0
            while line.strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                line = stream.readline()
            message = json.loads(stream.read(length))
            if "method" not in message:
                self._answers.put(message)
            elif message["method"] == "textDocument/publishDiagnostics":
                self._faults.put(message["params"])
            elif message["method"] == "workspace/configuration":
                wanted = [SETTINGS.get(item.get("section", ""), {}) for item in message["params"]["items"]]
                self._send({"id": message["id"], "result": wanted})
            elif "id" in message:
                self._send({"id": message["id"], "result": None})


def _plain(content: Any) -> str:
    return content["value"] if isinstance(content, dict) else str(content)
