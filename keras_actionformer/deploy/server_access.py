"""Who is answered: a model on this machine is not for the web pages that its user looks at.

A page may send requests to any address. Browsers tell where it comes from (`Origin`,
`Sec-Fetch-Site`), and believe that it is the server's own where the page's name was made to lead to
the server (DNS rebinding): then it is the name in `Host` that tells.
"""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(?::\d{1,5})?")


class Access:
    """The application, for those who may use it.

    Args:
      app: ASGI application.
      refuse: function from a sentence and a status to the response, an ASGI application.
      hosts: collection of str, names that the server is known by, beside "localhost" and all
        addresses in numbers; "*" for any.
      origins: collection of str, those of web pages that may use the server, such as
        "https://example.org"; "*" for all.
    """

    def __init__(self, app, refuse, hosts=(), origins=()):
        self._hosts = {host.lower() for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._refuse = refuse
        # Only for pages that may: it has their browsers show them the answers.
        self._app = (
            CORSMiddleware(
                app,
                allow_origins=["*"],
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type"],
            )
            if origins
            else app
        )

    async def __call__(self, scope, receive, send):
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            if not self._knows_host(host):
                app = self._refuse(
                    f"This server is not known as {host[:200]!r}; start it with --allowed_hosts="
                    "NAME if it is.",
                    403,
                )
            elif not self._knows_page(headers, host):
                app = self._refuse(
                    "This server answers no web pages of other origins; start it with "
                    "--allowed_origins=ORIGIN if it may.",
                    403,
                )
        await app(scope, receive, send)

    def _knows_host(self, host):
        if not host:  # a program of HTTP/1.0; browsers always tell it
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().strip("[]").rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or {name, "*"} & self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # which no name can have been made to lead to

    def _knows_page(self, headers, host):
        if "*" in self._origins:
            return True
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() in {*self._origins, f"http://{host.lower()}"}
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
