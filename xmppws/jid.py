"""JIDs: the addresses of XMPP (RFC 7622)."""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

import idna
from msgspec import Struct
from precis_i18n import get_profile
from precis_i18n.unicode import UnicodeData

MAX_PART_BYTES = 1023
MAX_BYTES = 3 * MAX_PART_BYTES + 2
CACHE_ENTRIES = 32_768
# Longer texts are rare, and caching them would let strangers hold 100 MB of our memory.
MAX_CACHED_LENGTH = 256

_LOCAL = r"[a-z0-9!#$%()*+,\-.;=?\[\\\]^_`{|}~]{1,1023}"
_LABEL = r"(?!xn--)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_RESOURCE = r"[ -~]{1,1023}"
_prepared_jid = re.compile(rf"(?:({_LOCAL})@)?({_DOMAIN})(?:/({_RESOURCE}))?").fullmatch
_prepared_local = re.compile(_LOCAL).fullmatch
_prepared_label = re.compile(_LABEL).fullmatch
_prepared_domain = re.compile(_DOMAIN).fullmatch
_prepared_resource = re.compile(_RESOURCE).fullmatch

# RFC 7622 section 3.3.1: "the following characters are explicitly disallowed in XMPP localparts"
_excluded_from_local = re.compile("[\"&'/:<>@]").search
# RFC 3490 section 3.1: "U+002E (full stop), U+3002 (ideographic full stop), U+FF0E (fullwidth full
# stop), U+FF61 (halfwidth ideographic full stop)" separate labels.
_IDEOGRAPHIC_FULL_STOPS = str.maketrans("\u3002\uff0e\uff61", "...")

_username = get_profile("UsernameCaseMapped")
_opaque_string = get_profile("OpaqueString")
_unicode = UnicodeData()


class InvalidJid(ValueError):
    """A text is no JID; the message names the part and the rule it breaks."""


class Jid(Struct, frozen=True, cache_hash=True, gc=False):
    """Hold a prepared JID; make one with `Jid.parse` or `Jid.make`, which prepare and check.

    `local` and `resource` are "" when absent. `text` is the canonical form: equal JIDs have equal texts.
    """

    local: str
    domain: str
    resource: str
    text: str
    _bare: "Jid | None"

    @staticmethod
    def parse(text: str) -> "Jid":
        """Parse and prepare a JID; raise `InvalidJid`."""
        if len(text) <= MAX_CACHED_LENGTH:
            return _parse_cached(text)
        return _parse(text)

    @staticmethod
    def make(local: str, domain: str, resource: str = "") -> "Jid":
        """Prepare the parts of a JID, "" being an absent one; raise `InvalidJid`."""
        return _join(
            prepare_local(local) if local else "",
            prepare_domain(domain),
            prepare_resource(resource) if resource else "",
        )

    @staticmethod
    def prepared(text: str) -> "Jid":
        """Split the `text` of a JID that was kept; nothing is checked, for preparing costs up to milliseconds."""
        rest, _, resource = text.partition("/")
        local, _, domain = rest.rpartition("@")
        return _join(local, domain, resource)

    @property
    def bare(self) -> "Jid":
        """The JID without its resource."""
        return self._bare or self

    @property
    def is_bare(self) -> bool:
        """Whether there is no resource."""
        return self._bare is None

    @property
    def is_full(self) -> bool:
        """Whether there is a resource."""
        return self._bare is not None

    def with_resource(self, resource: str) -> "Jid":
        """Return this JID with another resource, prepared; raise `InvalidJid`."""
        return _join(self.local, self.domain, prepare_resource(resource))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Jid({self.text!r})"


def prepare_local(local: str) -> str:
    """Prepare a localpart (RFC 7622 section 3.3); raise `InvalidJid`."""
    if _prepared_local(local):
        return local
    prepared = _prepare("localpart", local, _username.enforce)
    # Checked afterwards: width mapping turns U+FF20 into "@".
    if excluded := _excluded_from_local(prepared):
        raise _invalid("localpart", local, f"the character {excluded.group()} is not allowed there")
    return prepared


def prepare_domain(domain: str) -> str:
    """Prepare a domainpart (RFC 7622 section 3.2): U-labels, no final dot; raise `InvalidJid`."""
    if len(domain) <= MAX_PART_BYTES and _prepared_domain(domain):
        return domain
    return _prepare("domainpart", domain, _ipv6_literal if domain.startswith("[") else _hostname)


def prepare_resource(resource: str) -> str:
    """Prepare a resourcepart (RFC 7622 section 3.4); raise `InvalidJid`."""
    if _prepared_resource(resource):
        return resource
    return _prepare("resourcepart", resource, _opaque_string.enforce)


@lru_cache(CACHE_ENTRIES)
def _parse_cached(text: str) -> Jid:
    return _parse(text)


def _parse(text: str) -> Jid:
    if len(text) > MAX_BYTES:
        raise _invalid("JID", text, f"it is longer than {MAX_BYTES} bytes")
    match = _prepared_jid(text)
    if match and len(match[2]) <= MAX_PART_BYTES:
        return _join(match[1] or "", match[2], match[3] or "")
    _check_size("JID", text, MAX_BYTES)
    # RFC 7622 section 3.2: first the part from the first "/" on is taken away, then the part up to the first "@"; the
    # domainpart is what remains.
    rest, slash, resource = text.partition("/")
    local, at, domain = rest.partition("@") if "@" in rest else ("", "", rest)
    return _join(
        prepare_local(local) if at else "",
        prepare_domain(domain),
        prepare_resource(resource) if slash else "",
    )


def _join(local: str, domain: str, resource: str) -> Jid:
    bare_text = f"{local}@{domain}" if local else domain
    bare = Jid(local, domain, "", bare_text, None)
    return Jid(local, domain, resource, f"{bare_text}/{resource}", bare) if resource else bare


def _prepare(part: str, text: str, enforce: Callable[[str], str]) -> str:
    _check_size(part, text, MAX_PART_BYTES)
    try:
        prepared = enforce(text)
    except UnicodeEncodeError as error:  # how PRECIS says no
        raise _invalid(part, text, f"{error.reason} in {error.encoding}") from None
    except ValueError as error:
        raise _invalid(part, text, str(error)) from None
    # The limit holds for the prepared part; unprepared, it bounds the work.
    _check_size(part, prepared, MAX_PART_BYTES)
    return prepared


def _check_size(part: str, text: str, limit: int) -> None:
    if not text:
        raise _invalid(part, text, "it is empty")
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise _invalid(part, text, "it has a lone surrogate, which is no character") from None
    if size > limit:
        raise _invalid(part, text, f"it is longer than {limit} bytes")


def _ipv6_literal(text: str) -> str:
    if not text.endswith("]") or "%" in text:
        raise ValueError("an IPv6 address is written [2001:db8::1], without a zone")
    return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"


def _hostname(text: str) -> str:
    # RFC 7622 section 3.2.1: upper and title case, fullwidth and halfwidth are mapped, and all is NFC.
    mapped = _unicode.width_map(text.translate(_IDEOGRAPHIC_FULL_STOPS)).lower()
    # RFC 7622 section 3.2: a final dot is stripped.
    labels = _unicode.normalize("NFC", mapped).removesuffix(".").split(".")
    return ".".join([_label(label) for label in labels])


def _label(label: str) -> str:
    if _prepared_label(label):
        return label
    if label.isascii() and not label.startswith("xn--"):
        raise ValueError("a label is 1 to 63 letters, digits, hyphens and underscores, with no hyphen at its ends")
    # A-labels become U-labels: RFC 7622 section 3.2.1.
    return idna.ulabel(label)


def _invalid(part: str, text: str, rule: str) -> InvalidJid:
    shown = ascii(text) if len(text) <= 64 else f"{text[:64]!a}..."
    return InvalidJid(f"{part} {shown}: {rule}")
