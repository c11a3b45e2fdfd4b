"""A headless Chromium without a network, driven over a pipe by the DevTools protocol: no package is needed for it."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

COMMAND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--window-size=1280,900", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--enable-unsafe-swiftshader",
    "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """A tab: what it asked for, what its console said, and what its dialogs showed."""

    def __init__(self, send, receive):
        self._send, self._receive, self._number, self._session = send, receive, 0, None
        self.requests, self.messages, self.dialogs = [], [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        message = dict(id=self._number, method=method, params=params)
        self._send(message if self._session is None else message | dict(sessionId=self._session))
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer.get("method"), answer.get("params", {}))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path):
        self.call("Page.navigate", url=path.resolve().as_uri())
        for _ in range(200):
            if self.run("document.readyState") == "complete":
                return self
            self.run("new Promise(done => setTimeout(done, 25))")
        raise RuntimeError(f"{path} was not loaded")

    def run(self, code):
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _note(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(params)
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._send(
                dict(id=0, method="Page.handleJavaScriptDialog", params=dict(accept=True), sessionId=self._session)
            )


@contextmanager
def browser(profile):
    """A `Page`, whose profile is a folder that is made."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    command = [COMMAND, *FLAGS, f"--user-data-dir={profile}"]
    wired = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command]
    process = subprocess.Popen(
        wired, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    rest = bytearray()

    def receive():
        while b"\0" not in rest:
            read = os.read(ours_in, 2**16)
            if not read:
                raise RuntimeError("the browser ended")
            rest.extend(read)
        text, _, after = bytes(rest).partition(b"\0")
        rest[:] = after
        return json.loads(text)

    def send(message):
        os.write(ours_out, json.dumps(message).encode() + b"\0")

    try:
        yield Page(send, receive)
        send(dict(id=-1, method="Browser.close"))
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
