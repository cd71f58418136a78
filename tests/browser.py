"""A real browser without a window, for the one page that this project writes; all it asks for goes to a recording proxy."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = "http://page.test/"
DEADLINE_S = 60.0  # a start on a busy machine takes some seconds; one that hangs is killed


class Browser:
    """Opens a page; `asked` is every address that the browser then wanted, of the page and of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def open(self, text: bytes, *, dark: bool = False, size: str = "1400,700") -> tuple[str, bytes]:
        """The document as the browser understood it, and the screenshot."""
        assert CHROMIUM is not None
        asked = self.asked

        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200 if self.path == PAGE else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(text if self.path == PAGE else b"")

            def do_CONNECT(self) -> None:
                asked.append(self.path)
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                pass

        proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        # A profile of its own each time: one that is in use, or only just was, is asked to open the page instead.
        profile = tempfile.mkdtemp(prefix="profile", dir=self.folder)
        picture = self.folder / "screen.png"
        quiet = ("background-networking", "component-update", "sync", "quic", "default-apps", "extensions", "gpu")
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{one}" for one in quiet),
            "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={size}",
            f"--proxy-server=http://127.0.0.1:{proxy.server_port}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--dump-dom", f"--screenshot={picture}", PAGE,
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
        finally:
            proxy.shutdown()
            proxy.server_close()
        return done.stdout, picture.read_bytes()


def pixels(png: bytes) -> bytes:
    """The rows of a PNG, each behind the number of its filter."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return zlib.decompress(data)


def corner(png: bytes) -> str:
    """The colour of the first pixel, which no filter changes."""
    return pixels(png)[1:4].hex()
