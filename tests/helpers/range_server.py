"""A server of files over HTTP that gives parts of them, on this machine."""

import contextlib
import http.server
import pathlib
import threading


@contextlib.contextmanager
def serve_ranges(folder, missing=404):
    """Serves the files of a folder for the time of a block.

    Args:
      folder: path.
      missing: int, the HTTP status for what is not there.

    Yields:
      (str, the address; list of (str, int), which file was asked and how many bytes it was sent).
    """
    sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(with_content=False)

        def do_GET(self):
            self._answer(with_content=True)

        def _answer(self, with_content):
            path = pathlib.Path(folder, self.path.lstrip("/"))
            if not path.is_file():
                self.send_error(missing)
                return
            size = path.stat().st_size
            first, end, status = 0, size, 200
            if "Range" in self.headers:
                first, last = self.headers["Range"].removeprefix("bytes=").split("-")
                first, end, status = int(first), min(int(last or size) + 1, size), 206
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - first))
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
            self.end_headers()
            if with_content:
                sent.append((path.name, end - first))
                with open(path, "rb") as file:
                    file.seek(first)
                    self.wfile.write(file.read(end - first))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
