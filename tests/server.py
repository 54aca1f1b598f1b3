"""A web server on loopback that serves given bytes, and misbehaves when told to."""

import contextlib
import http.server
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.files[path]; server.plan[path] is a list of misbehaviours, one used up by each
    request."""

    def do_GET(self):
        data, plan = self.server.files.get(self.path), self.server.plan.get(self.path, [])
        how = plan.pop(0) if plan else "well"
        self.server.asked.append((self.path, self.headers.get("Range")))
        if data is None or how == "404":
            return self.send_error(404)
        if how == "503":
            return self.send_error(503)
        start = 0
        asked = self.headers.get("Range")
        if asked and how != "no ranges":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return None
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = b"<html>sign in</html>" if how == "other" else data[start:]
        lie = {"says more": 5000, "says less": -5000}.get(how, 0)
        if how != "no length":
            self.send_header("Content-Length", str(len(body) + lie))
        self.end_headers()
        with contextlib.suppress(OSError):
            if how == "slow":
                for n in range(0, len(body), 10_000):
                    self.wfile.write(body[n : n + 10_000])
                    time.sleep(0.005)
            else:
                self.wfile.write(body[: len(body) // 2] if how == "drop" else body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(files: dict, plan: dict | None = None):
    """Run the server; yields it, with .url."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.plan, server.asked = files, plan or {}, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
