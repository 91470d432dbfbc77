"""What texts in the configuration have to be: each check returns the text prepared, or raises ValueError."""

import re
from ipaddress import ip_network
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from xmppws.jid import InvalidJid, Jid, prepare_domain

_tcp = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})").fullmatch
_class_path = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*").fullmatch
_module_name = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_descriptor_name = re.compile(r"[!-9;-~]{1,255}").fullmatch
_mode = re.compile(r"0?[0-7]{3}").fullmatch
_path = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+").fullmatch

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

_LISTEN = 'must be "address:port", "[IPv6 address]:port", "unix:/path" or "systemd:name"'


class Address(NamedTuple):
    """Where a listener listens.

    Either `host` (IPv6 without brackets) and `port`, or `path` of a Unix socket, or the `name` of sockets that systemd
    hands over (FileDescriptorName= in systemd.socket(5)).
    """

    host: str = ""
    port: int = 0
    path: str = ""
    name: str = ""

    def __str__(self) -> str:
        if self.name:
            return f"systemd:{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{host}:{self.port}"


def address(text: str) -> Address:
    """Split an entry of `http.listen`; raise ValueError."""
    if text.startswith("unix:"):
        if not text.startswith("unix:/"):
            raise ValueError('a Unix socket is written with its whole path, "unix:/run/xmppws/http.sock"')
        return Address(path=text.removeprefix("unix:"))
    if text.startswith("systemd:"):
        if not _descriptor_name(text.removeprefix("systemd:")):
            raise ValueError("the name of a systemd socket has 1 to 255 printable ASCII characters without colon")
        return Address(name=text.removeprefix("systemd:"))
    match = _tcp(text)
    if not match or int(match[2]) > 65535:
        raise ValueError(_LISTEN)
    try:
        host = prepare_domain(match[1])
    except InvalidJid:
        raise ValueError(_LISTEN) from None
    return Address(host.strip("[]"), int(match[2]))


def listen(text: str) -> str:
    """Check where to listen."""
    address(text)
    return text


def mode(text: str) -> str:
    """Check the mode of a Unix socket."""
    if not _mode(text):
        raise ValueError('must be an octal mode such as "0660"')
    return text


def admin_socket(text: str) -> str:
    """Check the path of the admin socket, "auto" or "" (none)."""
    if text not in ("auto", "") and not text.startswith("/"):
        raise ValueError('must be a whole path such as "/run/xmppws/admin.sock", "auto" or ""')
    return text


def host_name(text: str) -> str:
    """Prepare the domain of a virtual host."""
    try:
        jid = Jid.parse(text)
    except InvalidJid as error:
        raise ValueError(f"must be a domain name: {error}") from None
    if jid.local or jid.resource:
        raise ValueError("must be a domain name, without user and resource")
    return jid.domain


def http_host(text: str) -> str:
    """Prepare a name of the HTTP Host header."""
    try:
        return prepare_domain(text)
    except InvalidJid:
        raise ValueError("must be a name as in the Host header, without scheme and port") from None


def bare_jid(text: str) -> str:
    """Prepare the address of an account."""
    try:
        jid = Jid.parse(text)
    except InvalidJid as error:
        raise ValueError(f"must be an address such as user@example.com: {error}") from None
    if not jid.local or jid.resource:
        raise ValueError("must be an address such as user@example.com, without resource")
    return jid.text


def trusted_proxy(text: str) -> str:
    """Check an address, a network or "unix"."""
    if text == "unix":
        return text
    try:
        return network(text)
    except ValueError as error:
        raise ValueError(f'{error}, or "unix"') from None


def network(text: str) -> str:
    """Check an address or a network."""
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be an address, a CIDR network such as 10.0.0.0/8 (host bits zero)") from None
    return text


def websocket_path(text: str) -> str:
    """Check the path of the endpoint."""
    if not _path(text):
        raise ValueError('must start with "/" and be a plain path, such as "/xmpp-websocket"')
    return text


def origin(text: str) -> str:
    """Prepare an entry of `allowed_origins`: browsers send origins in lower case."""
    if text in ("*", "null"):
        return text
    parts = _url(text)
    # An origin ends after the port: RFC 6454 section 6.2.
    if not parts or f"{parts.scheme}://{parts.netloc.lower()}" != text.lower() or "@" in parts.netloc:
        raise ValueError('must be "*", "null" or an origin such as "https://www.example.com", without a path')
    return text.lower()


def external_url(text: str) -> str:
    """Check a public base URL; "" is none."""
    parts = _url(text)
    if text and (not parts or parts.scheme not in ("http", "https") or parts.query or parts.fragment):
        raise ValueError('must be a URL such as "https://chat.example.com", without query and fragment')
    return text.rstrip("/")


def jwks_url(text: str) -> str:
    """Check where a JWK set is; "" is none. Whoever can change it on the way lets in whom they like."""
    parts = _url(text)
    usable = (
        parts
        and not parts.fragment
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE))
    )
    if text and not usable:
        raise ValueError('must be a URL such as "https://login.example.com/jwks.json"; http is for this machine only')
    return text


def claim(text: str) -> str:
    """Check the name of a claim that has to be there."""
    if not text:
        raise ValueError('must be the name of a claim, such as "sub"')
    return text


def storage_url(text: str) -> str:
    """Check where data is stored."""
    if text not in ("sqlite:", "memory:") and not text.startswith("sqlite:/"):
        raise ValueError(
            'must be "sqlite:" (a file in data_dir), "sqlite:/path/to/file" or "memory:" (lost at the end)'
        )
    return text


def module(text: str) -> str:
    """Check the name of a module."""
    if not _module_name(text):
        raise ValueError("must be the name of a module: small letters, digits and _")
    return text


def router(text: str) -> str:
    """Check a name of a router."""
    if not _class_path(text) and not _module_name(text):
        raise ValueError('must be "local", "upstream", the name of an installed router, or "package.module:Class"')
    return text


def route(text: str) -> str:
    """Check a name of a route."""
    if not _class_path(text) and not _module_name(text):
        raise ValueError('must be the name of an installed route, or "package.module:Class"')
    return text


def default_host(text: str) -> str:
    """Prepare the name of the host that serves unknown names; "auto" and "" are none in particular."""
    return text if text in ("auto", "") else host_name(text)


def _url(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = parts.scheme and parts.hostname and parts.port != 0 and not re.search(r"[\s\\]", text)
    except ValueError:
        return None
    return parts if usable else None
