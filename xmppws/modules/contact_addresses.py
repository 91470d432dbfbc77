"""XEP-0157 Contact Addresses: whom to write to about the host, in its service discovery information."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote, unquote, urlsplit

from msgspec.structs import asdict

from xmppws.config import Opt, Section
from xmppws.core.events import DiscoInfoWanted
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.module import Module, Xep, on
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.forms import Field, Form

# RFC 5122 section 2.2: what stands for itself in a localpart, beside letters, digits and "-._~".
_SAFE_IN_LOCAL: Final = "!$()*+,;="
_RULE: Final = (
    'must be a URI such as "mailto:abuse@example.com", "xmpp:admin@example.com" or "https://example.com/help"'
)


def _uri(text: str) -> str:
    """Check a URI of a person or a page; raise ValueError."""
    try:
        parts = urlsplit(text)
        if parts.scheme == "xmpp" and not parts.netloc:
            Jid.parse(unquote(parts.path, errors="strict"))
            right = True
        else:
            right = bool(parts.hostname) if parts.scheme == "https" else parts.scheme == "mailto" and "@" in parts.path
    except (InvalidJid, ValueError):
        right = False
    # RFC 3986 section 2: everything else is percent-encoded.
    if not right or not text.isascii() or any(not char.isprintable() or char in ' "<>\\^`{|}' for char in text):
        raise ValueError(_RULE)
    return text


def _about(subject: str) -> Opt:
    return Opt(f"Addresses for {subject}, as URIs: mailto, xmpp or https.", check=_uri)


class ContactOptions(Section, frozen=True, kw_only=True):
    """Options of the module contact_addresses. Without any, the host's admins are told."""

    abuse: Annotated[tuple[str, ...], _about("complaints about abuse")] = ()
    admin: Annotated[tuple[str, ...], _about("the administrators")] = ()
    feedback: Annotated[tuple[str, ...], _about("feedback")] = ()
    sales: Annotated[tuple[str, ...], _about("sales")] = ()
    security: Annotated[tuple[str, ...], _about("matters of security")] = ()
    status: Annotated[tuple[str, ...], _about("the state of the service")] = ()
    support: Annotated[tuple[str, ...], _about("help")] = ()


class ContactAddresses(Module):
    name = "contact_addresses"
    xeps = (Xep(157, "1.1.1"),)
    requires = ("disco",)
    Options = ContactOptions
    options: ContactOptions

    @on(DiscoInfoWanted, Phase.ANSWER)
    def add(self, event: DiscoInfoWanted) -> Verdict:
        """Add the form to what is said of the host."""
        addresses = {kind: uris for kind, uris in self._addresses().items() if uris}
        if event.to == self.host.jid and addresses:
            fields = [Field(f"{kind}-addresses", uris, "list-multi") for kind, uris in addresses.items()]
            event.forms.append(Form((Field("FORM_TYPE", (ns.SERVER_INFO,), "hidden"), *fields), "result"))
        return None

    def _addresses(self) -> dict[str, tuple[str, ...]]:
        configured = asdict(self.options)
        if any(configured.values()):
            return configured
        return {"admin": tuple(sorted(map(_xmpp_uri, self.host.admins)))}


def _xmpp_uri(jid: Jid) -> str:
    return f"xmpp:{quote(jid.local, safe=_SAFE_IN_LOCAL)}@{quote(jid.domain, safe=':[]')}"
