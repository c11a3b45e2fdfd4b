"""A hub of this machine for the real clients: repositories of the Hugging Face hub, and files at plain addresses."""

import hashlib
import json
import re
import threading
import urllib.request
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ERRORS = {"RepoNotFound": 404, "GatedRepo": 403, "RevisionNotFound": 404, "EntryNotFound": 404}


@dataclass
class LocalHub:
    """`files` by "USER/MODEL/FILE" or "HOST/PATH" of an address; of a name in `gated` or `broken` none is given."""

    endpoint: str
    files: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    revisions: set[str] = field(default_factory=lambda: {"main", COMMIT})
    asked: list[str] = field(default_factory=list)  # paths, without those of the hub's own API

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers of a GET."""
        if path.startswith("/address/"):
            name = path.removeprefix("/address/")
            self.asked.append(name)
            return (200, self.files[name], {}) if name in self.files else (404, b"", {})
        if "/resolve/" not in path:  # the client asks for more than files
            return 404, b"", {}
        user, model, _, revision, file = path.lstrip("/").split("/", 4)
        name, revision = f"{user}/{model}", unquote(revision)
        self.asked.append(f"{name}/{file}@{revision}")
        if name in self.broken:
            return 400, b"", {}  # which the client does not ask for again, as it does with 500
        problem = self._problem(name, revision, f"{name}/{file}")
        if problem:
            return ERRORS[problem], b"", {"X-Error-Code": problem, "X-Error-Message": problem, "X-Repo-Commit": COMMIT}
        content = self.files[f"{name}/{file}"]
        commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT
        return 200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}

    def take(self, path: str, content: bytes) -> tuple[int, dict]:
        """Status and answer of a POST: a repository is made, or files come, all of them within a commit."""
        if path == "/api/validate-yaml":
            return 200, {}
        if path == "/api/repos/create":
            said = json.loads(content)
            name = f"{said['organization'] or 'someone'}/{said['name']}"
            return (403, {}) if name in self.gated else (200, {"url": f"{self.endpoint}/{name}"})
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            asked = [file["path"] for file in json.loads(content)["files"]]
            return 200, {"files": [dict(path=each, uploadMode="regular", shouldIgnore=False) for each in asked]}
        for line in filter(None, content.split(b"\n")):
            said = json.loads(line)
            if said["key"] == "file":
                self.files[f"{name}/{said['value']['path']}"] = b64decode(said["value"]["content"])
        address = f"{self.endpoint}/{name}/commit/{COMMIT}"
        return 200, dict(success=True, commitOid=COMMIT, commitUrl=address, hookOutput="")

    def _problem(self, name: str, revision: str, file: str) -> str | None:
        if name in self.gated:
            return "GatedRepo"
        if not any(each.startswith(f"{name}/") for each in self.files):
            return "RepoNotFound"
        if revision not in self.revisions:
            return "RevisionNotFound"
        return None if file in self.files else "EntryNotFound"


@contextmanager
def local_hub():
    """The server, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self, *, alone=True):
            status, content, headers = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if alone:
                self.wfile.write(content)

        def do_HEAD(self):
            self.do_GET(alone=False)

        def do_POST(self):
            status, said = hub.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = LocalHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class AddressesAtHub(urllib.request.HTTPSHandler):
    """What Python's own client asks of any https address comes from the local hub."""

    def __init__(self, hub: LocalHub):
        super().__init__()
        self.hub = hub

    def https_open(self, request):
        return self.parent.open(f"{self.hub.endpoint}/address/{request.host}{request.selector}")
