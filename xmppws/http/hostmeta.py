"""XEP-0156 (1.4.0): host-meta, by which clients find the WebSocket endpoint of an XMPP domain.

Served on the XMPP domain's own name and on its HTTP names. Left out: BOSH, which is not served here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from lxml import etree

from xmppws.http.proxies import Client
from xmppws.http.vhosts import AUTO, HostRefused, VirtualHosts, split_host

REL_WEBSOCKET = "urn:xmpp:alt-connections:websocket"
XRD_NAMESPACE = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
XRD_PATH = "/.well-known/host-meta"
JSON_PATH = "/.well-known/host-meta.json"

# XEP-0156: browsers of any origin must be able to read these two files, and nothing in them is secret.
_CORS = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {**_CORS, "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS", "Access-Control-Max-Age": "86400"}

# XEP-0156: host-meta files and the links in them are for secure connections only.
_NO_LINKS = (
    "There is no link to give, since this request is not secure. Ask by https; behind a proxy: list it in "
    "trusted_proxies and let it set X-Forwarded-Proto, or set external_url.\n"
)


@dataclass(frozen=True, slots=True)
class Site:
    """The web side of a virtual host: its HTTP names and, when set, its public base URL."""

    domain: str
    http_hosts: tuple[str, ...]
    external_url: str = ""


class HostMeta:
    """Answer requests for host-meta. `client` tells who sent a request, and logs what is worth it."""

    __slots__ = ("_client", "_hosts", "_path", "_sites")

    def __init__(
        self,
        sites: Sequence[Site],
        websocket_path: str,
        client: Callable[[web.Request], Client],
        default_host: str = AUTO,
    ) -> None:
        self._sites = {site.domain: site for site in sites}
        self._path = websocket_path
        self._client = client
        self._hosts = VirtualHosts({site.domain: (site.domain, *site.http_hosts) for site in sites}, default_host)

    async def xrd(self, request: web.Request) -> web.Response:
        """Answer with an Extensible Resource Descriptor."""
        found = self.links(request)
        root = etree.Element(f"{{{XRD_NAMESPACE}}}XRD", nsmap={None: XRD_NAMESPACE})
        for href in found:
            etree.SubElement(root, f"{{{XRD_NAMESPACE}}}Link", rel=REL_WEBSOCKET, href=href)
        body = etree.tostring(root, encoding="utf-8", xml_declaration=True)
        return web.Response(body=body, content_type="application/xrd+xml", charset="utf-8", headers=_CORS)

    async def json(self, request: web.Request) -> web.Response:
        """Answer with the same in JSON."""
        document = {"links": [{"rel": REL_WEBSOCKET, "href": href} for href in self.links(request)]}
        return web.json_response(document, headers=_CORS)

    async def preflight(self, request: web.Request) -> web.Response:
        """Allow scripts of every origin."""
        return web.Response(status=204, headers=_PREFLIGHT)

    def links(self, request: web.Request) -> list[str]:
        """Return the links for a request. Raises `HTTPNotFound` or `HTTPBadRequest`, with the sentence that helps."""
        host = request.headers.getall("Host", [])
        try:
            candidates = self._hosts.for_request(host)
        except HostRefused as refused:
            text = refused.sentence + "\n"
            raise _not_found(text) if refused.status == 404 else web.HTTPBadRequest(text=text, headers=_CORS) from None
        sites = [self._sites[domain] for domain in candidates.domains]
        found = links(sites, host[0].strip(), self._client(request), self._path)
        if not found:
            raise _not_found(_NO_LINKS)
        return found


def links(sites: Sequence[Site], host: str, client: Client, websocket_path: str) -> list[str]:
    """Return the WebSocket URLs of the sites that a Host header leads to.

    A site whose XMPP domain is that very name comes alone: the others only share its HTTP name.
    """
    name, port = split_host(host)
    own = [site for site in sites if split_host(site.domain)[0] == name]
    bases = [_external(site, client) if site.external_url else _own(site, name, port, client) for site in own or sites]
    return [base + websocket_path for base in dict.fromkeys(bases) if base]


def _external(site: Site, client: Client) -> str:
    url = site.external_url.rstrip("/")
    if url.startswith("https:"):
        return f"wss{url.removeprefix('https')}"
    return f"ws{url.removeprefix('http')}" if client.declared else ""


def _own(site: Site, name: str, port: str, client: Client) -> str:
    if not client.secure:
        return ""
    names = [split_host(http_host)[0] for http_host in site.http_hosts] or [split_host(site.domain)[0]]
    if name in names:
        authority = name + port
    elif name == split_host(site.domain)[0]:
        authority = names[0] + port
    else:
        # A proxy that does not keep Host shows its own name for us, and our port: nothing for a client.
        authority = names[0]
    return f"ws://{authority}" if client.declared else f"wss://{authority.removesuffix(':443')}"


def _not_found(text: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=text, headers=_CORS)


def routes(pages: HostMeta) -> list[web.RouteDef]:
    """Return the routes of both documents, for GET, HEAD and OPTIONS."""
    return [
        web.get(XRD_PATH, pages.xrd),
        web.get(JSON_PATH, pages.json),
        web.options(XRD_PATH, pages.preflight),
        web.options(JSON_PATH, pages.preflight),
    ]
