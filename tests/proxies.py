"""Debian's nginx and Apache, running the configurations in contrib/ with other ports, paths and certificates."""

import asyncio
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from processes import stop

CONTRIB = Path(__file__).parent.parent / "contrib"
NAMES = ("chat.example.com", "example.com")
Edit = Callable[[str], str]
SECONDS_TO_START = 30
# Apache may wait long for a connection that was just ending; nothing that it keeps is needed any more.
SECONDS_TO_STOP = 1

APACHE_MODULES = Path("/usr/lib/apache2/modules")
APACHE_LOADED = ("mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http", "proxy_wstunnel")


@dataclass(frozen=True)
class Proxy:
    """A running proxy, which answers for NAMES on a port of 127.0.0.1 by TLS."""

    port: int
    tls: ssl.SSLContext

    def url(self, path: str, *, name: str = "chat.example.com", scheme: str = "https") -> str:
        return f"{scheme}://{name}:{self.port}{path}"

    def session(self, address: str = "127.0.0.1") -> ClientSession:
        """Return an HTTP client that finds every name here, and connects from an address in 127.0.0.0/8."""
        connector = TCPConnector(resolver=_Loopback(), ssl=self.tls, local_addr=(address, 0))
        return ClientSession(connector=connector)


class _Loopback(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        flags = socket.AddressInfo.AI_NUMERICHOST
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=flags),
        ]

    async def close(self) -> None:
        pass


def documented(config: str, listen: str) -> str:
    """Return the xmppws.toml that stands in the head of a file of contrib/, but for where it listens."""
    _, _, head = (CONTRIB / config).read_text(encoding="utf-8").partition("# xmppws.toml:\n")
    lines = takewhile(lambda line: line.startswith("#     "), head.splitlines())
    text = "\n".join(line.removeprefix("#     ") for line in lines) + "\n"
    text, found = re.subn(r'^listen = \["[^"]+"\]$', f'listen = ["{listen}"]', text, flags=re.MULTILINE)
    assert found == 1, "the configuration says once where xmppws listens"
    return text


def replaced(old: str, new: str) -> Edit:
    """Return an edit that replaces a text, which has to be there."""
    return lambda text: _replaced(text, old, new)


def without(line: str) -> Edit:
    """Return an edit that takes out every line that holds a text."""

    def edit(text: str) -> str:
        assert line in text, f"the configuration no longer has {line!r}"
        return "\n".join(kept for kept in text.splitlines() if line not in kept)

    return edit


def with_plain_listener(config: str, port: int) -> Edit:
    """Return an edit that lets the first site of a file be reached without TLS too, on a port of 127.0.0.1."""
    if config.startswith("nginx/"):
        return replaced("listen 443 ssl;", f"listen 443 ssl; listen 127.0.0.1:{port};")

    def edit(text: str) -> str:
        site, end, _ = text.partition("</VirtualHost>")
        plain = _replaced(site, "<VirtualHost *:443>", f"<VirtualHost 127.0.0.1:{port}>")
        return f"{text}\nListen 127.0.0.1:{port}\n{without('SSL')(plain)}\n{end}\n"

    return edit


@asynccontextmanager
async def fronting(config: str, upstream: str, directory: Path, edit: Edit = lambda text: text) -> AsyncIterator[Proxy]:
    """Run a proxy with a file of contrib/, such as "nginx/xmppws.conf", in a directory of its own.

    `upstream` is "host:port" or "unix:/path". `edit` may change the text before anything is filled in.
    """
    command = _program("apache2" if config.startswith("apache/") else "nginx")
    port = free_port()
    authority = trustme.CA()
    fill_in = _apache if config.startswith("apache/") else _nginx
    text = edit((CONTRIB / config).read_text(encoding="utf-8"))
    text = _with_certificates(text, authority, directory)
    arguments, marker = fill_in(text, port, upstream, directory)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    async with _process([command, *arguments], marker):
        yield Proxy(port, tls)


@asynccontextmanager
async def nginx(arguments: list[str], directory: Path) -> AsyncIterator[None]:
    """Run nginx with a whole configuration, which logs notices on standard error, and "-g" as its last argument."""
    *others, directives = arguments
    user = " user root;" if os.geteuid() == 0 else ""
    command = [_program("nginx"), "-e", "stderr", "-p", str(directory), *others, directives + user]
    async with _process(command, "start worker process "):
        yield


def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: apt install {name}")
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the configuration no longer has {old!r}"
    return text.replace(old, new)


def _with_certificates(text: str, authority: trustme.CA, directory: Path) -> str:
    for name in NAMES:
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        text = text.replace(f"/etc/ssl/certs/{name}.pem", str(certificate))
        text = text.replace(f"/etc/ssl/private/{name}.key", str(key))
    assert "/etc/ssl/" not in text, "the configuration names a certificate that the tests do not know"
    return text


def _nginx(text: str, port: int, upstream: str, directory: Path) -> tuple[list[str], str]:
    text = _replaced(text, "listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    # Machines that run tests may be without IPv6.
    text = re.sub(r"listen \[::\]:\d+[^;]*;", "", text)
    default = "unix:/run/xmppws/http.sock" if upstream.startswith("unix:") else "127.0.0.1:5280"
    text = _replaced(text, f"server {default}", f"server {upstream}")
    (directory / "site.conf").write_text(text, encoding="utf-8")
    temporary = "".join(
        f"    {kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = directory / "nginx.conf"
    main.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log stderr notice;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{\n    access_log off;\n{temporary}    include {directory}/site.conf;\n}}\n",
        encoding="utf-8",
    )
    return ["-e", "stderr", "-p", str(directory), "-c", str(main)], "start worker process "


def _apache(text: str, port: int, upstream: str, directory: Path) -> tuple[list[str], str]:
    text = _replaced(text, "<VirtualHost *:443>", f"<VirtualHost 127.0.0.1:{port}>")
    # "localhost" stays: Apache tries ::1 first, where nobody listens.
    text = _replaced(text, "localhost:5280", f"localhost:{upstream.rpartition(':')[2]}")
    (directory / "site.conf").write_text(text, encoding="utf-8")
    loaded = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in APACHE_LOADED)
    main = directory / "httpd.conf"
    main.write_text(
        f"{loaded}ServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/apache.pid\n"
        f"{'User www-data' if os.geteuid() == 0 else ''}\n{'Group www-data' if os.geteuid() == 0 else ''}\n"
        f"ServerName localhost\nListen 127.0.0.1:{port}\nErrorLog /dev/stderr\nLogLevel notice\n"
        f"StartServers 1\nThreadsPerChild 25\nMaxRequestWorkers 50\nInclude {directory}/site.conf\n",
        encoding="utf-8",
    )
    return ["-f", str(main), "-DFOREGROUND"], "resuming normal operations"


@asynccontextmanager
async def _process(command: list[str], marker: str) -> AsyncIterator[None]:
    """Run a command, from the log line that says that it listens until it has been stopped."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    listening = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(_read_log(process, marker, listening))
    try:
        log = await asyncio.wait_for(listening, SECONDS_TO_START)
        assert marker in log, f"{command[0]} did not start:\n{log}"
        yield
    finally:
        await stop(process, SECONDS_TO_STOP)
        await reader


async def _read_log(process: asyncio.subprocess.Process, marker: str, listening: asyncio.Future[str]) -> None:
    """Read to the end, since a full pipe would stop the process."""
    assert process.stderr is not None
    log = ""
    async for line in process.stderr:
        log += line.decode()
        if marker in log and not listening.done():
            listening.set_result(log)
    if not listening.done():
        listening.set_result(log)
