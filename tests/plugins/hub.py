"""A small hub on loopback, for the real client: one data set or model at one commit, of files in a folder."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "owner/birds"


@contextmanager
def served(folder: Path, kind: str = "datasets") -> Iterator[str]:
    """The address of a hub whose data set or model `NAME` has the files of `folder`, at `COMMIT` and nowhere else."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder, kind))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(folder: Path, kind: str) -> type[BaseHTTPRequestHandler]:
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]

    def entry(name: str) -> dict[str, object]:
        content = (folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}

    def folders() -> list[dict[str, object]]:
        found = {Path(name).parent.as_posix() for name in names} - {"."}
        return [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(found)]

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            api = f"/api/{kind}/{NAME}"
            files = f"/{NAME}/resolve/{COMMIT}/" if kind == "models" else f"/{kind}/{NAME}/resolve/{COMMIT}/"
            if path in (api, f"{api}/revision/{COMMIT}"):
                siblings = [{"rfilename": name} for name in names]
                self._json({"id": NAME, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
            elif path.startswith(f"{api}/tree/{COMMIT}"):
                below = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
                own = [
                    e
                    for e in [*folders(), *map(entry, names)]
                    if str(e["path"]).startswith(f"{below}/" if below else "")
                ]
                self._json(own)
            elif path.startswith(files) and path.removeprefix(files) in names:
                name = path.removeprefix(files)
                content = (folder / name).read_bytes()
                self._answer(200, content, {"ETag": f'"{entry(name)["oid"]}"', "X-Repo-Commit": COMMIT})
            else:
                self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            wanted = json.loads(sent)["paths"] if sent.startswith("{") else parse_qs(sent).get("paths", [])
            every = {str(e["path"]): e for e in [*folders(), *map(entry, names)]}
            self._json([every[name] for name in wanted if name in every])

        def _json(self, content: object) -> None:
            self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Hub
