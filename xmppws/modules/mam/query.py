"""What a client asks of its archive (XEP-0313 sections 4.1 and 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from xmppws.core.stores import Entry
from xmppws.errors import BadRequest, FeatureNotImplemented, JidMalformed
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns, rsm
from xmppws.xml.forms import Field, Form, read_form, write_form
from xmppws.xml.parser import Element
from xmppws.xml.writer import attribute, child, element, serialize

_FORM: Final = f"{{{ns.DATA_FORMS}}}x"
# Of a client that does not say how many it wants.
_PAGE: Final = 50
# It stands in every result.
_MAX_QUERYID: Final = 256
# What archives can hold: from 1970 to the year 2500.
_LATEST: Final = 16_725_225_600.0
_FIELDS: Final = (
    Field("FORM_TYPE", (ns.MAM,), "hidden"),
    Field("with", type="jid-single"),
    Field("start"),
    Field("end"),
    Field("before-id"),
    Field("after-id"),
    Field("ids", type="list-multi"),
    Field("include-groupchat", type="boolean"),
)
_KNOWN: Final = frozenset(field.var for field in _FIELDS)
_ADDRESSES: Final = re.compile(rb'<message to="([^"]*)" from="([^"]*)"').match


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: which messages, and which page of them. Times are seconds since 1970.

    `ids` are the only ones that are wanted, if there are any. `limit` is the number of messages of the page, which come
    in reverse order when it is `flipped`.
    """

    queryid: str
    form: Form
    page: rsm.Wanted
    with_: Jid | None
    start: float | None
    end: float | None
    ids: frozenset[str]
    limit: int
    flipped: bool

    @property
    def backwards(self) -> bool:
        """Whether the page is the last one of those that there are."""
        return self.page.before is not None

    @property
    def after(self) -> tuple[str, ...]:
        """The ids after which the page lies."""
        return tuple(id for id in (self.form.get("after-id"), self.page.after) if id)

    @property
    def before(self) -> tuple[str, ...]:
        """The ids before which the page lies."""
        return tuple(id for id in (self.form.get("before-id"), self.page.before) if id)

    @property
    def is_whole(self) -> bool:
        """Whether the page begins, or ends, with the set itself: it does not follow another one."""
        return not self.page.after and not self.page.before

    @property
    def is_filtered(self) -> bool:
        """Whether some messages are left out."""
        return any(self.form.values(var) for var in _KNOWN - {"FORM_TYPE", "include-groupchat"})

    def takes(self, entry: Entry) -> bool:
        """Tell whether a message is asked for."""
        return (
            (self.with_ is None or self._is_with(self.with_, entry))
            and (self.start is None or entry.when >= self.start)
            and (self.end is None or entry.when <= self.end)
            and all(entry.id > id for id in self.after)
            and all(entry.id < id for id in self.before)
        )

    @staticmethod
    def _is_with(address: Jid, entry: Entry) -> bool:
        if address.is_bare:
            return entry.with_ == address.text
        found = _ADDRESSES(entry.data)
        return found is not None and attribute(address.text) in found.groups()


def read_query(root: Element, max_page: int) -> Query:
    """Read the `<query/>` of a client. Raises `StanzaError`."""
    form, page = _read_form(root.find(_FORM)), rsm.read_set(root)
    if page.index is not None:
        # XEP-0059 section 2.6 allows that: counting to a place reads all that stands before it.
        raise FeatureNotImplemented("Pages of an archive are asked for by id, not by index")
    ids = frozenset(form.values("ids"))
    if len(ids) > max_page:
        raise BadRequest(f"A query names at most {max_page} ids")
    queryid = root.get("queryid", "")
    if len(queryid) > _MAX_QUERYID:
        raise BadRequest(f"A queryid has at most {_MAX_QUERYID} characters")
    return Query(
        queryid,
        form,
        page,
        _read_address(form),
        _read_time(form, "start"),
        _read_time(form, "end"),
        ids,
        min(max_page, _PAGE if page.max is None else page.max),
        root.find(f"{{{ns.MAM}}}flip-page") is not None,
    )


def write_form_of_queries() -> Element:
    """Build the `<query/>` that says what can be asked for (section 4.1.5)."""
    made = element(ns.MAM, "query")
    form = write_form(Form(_FIELDS))
    ids = next(each for each in form if each.get("var") == "ids")
    # "the server MUST include a XEP-0122 <validate/> element that signals the list is open".
    validate = child(ids, ns.DATA_VALIDATE, "validate", {"datatype": "xs:string"})
    child(validate, ns.DATA_VALIDATE, "open")
    made.append(form)
    return made


FORM_OF_QUERIES: Final = serialize(write_form_of_queries())


def _read_form(root: Element | None) -> Form:
    if root is None:
        return Form()
    form = read_form(root)
    if form.type != "submit" or form.get("FORM_TYPE") != ns.MAM:
        raise BadRequest(f"A query's form is one of type submit, and its FORM_TYPE is {ns.MAM}")
    unknown = next((field.var for field in form.fields if field.var not in _KNOWN), None)
    if unknown is not None:
        # "If a client includes a form field that the server does not recognise, the server MUST respond with".
        raise FeatureNotImplemented(f"Archives know no field {unknown[:40]}")
    return form


def _read_address(form: Form) -> Jid | None:
    text = form.get("with")
    if not text:
        return None
    try:
        return Jid.parse(text)
    except InvalidJid as error:
        raise JidMalformed(str(error)) from None


def _read_time(form: Form, var: str) -> float | None:
    text = form.get(var)
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        # XEP-0082 section 3.2: with a time zone.
        seconds = when.timestamp() if when.tzinfo is not None else None
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None:
        raise BadRequest(f"{var} is a time such as 2026-01-31T23:59:59Z")
    return min(max(0.0, seconds), _LATEST)
