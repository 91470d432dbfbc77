"""What an owner sets of a room, and the form for it (XEP-0045 sections 10.1.3 and 10.2)."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from xmppws.errors import BadRequest, NotAcceptable
from xmppws.xml import ns
from xmppws.xml.forms import Field, Form

_PREFIX: Final = "muc#roomconfig_"
_FLAGS: Final = {"0": False, "1": True, "false": False, "true": True}
_NUMBER: Final = re.compile("[0-9]{1,6}").fullmatch
# In characters.
_LONGEST: Final = {"name": 200, "description": 1000, "password": 200}
_SHOWN: Final = 40


class Settings(Struct, frozen=True):
    """The settings of a room. `max_occupants` 0 means as many as the service allows; a room without password has ""."""

    name: str = ""
    description: str = ""
    persistent: bool = False
    public: bool = True
    members_only: bool = False
    moderated: bool = False
    password: str = ""
    non_anonymous: bool = False
    open_subject: bool = False
    max_occupants: int = 0


def write(settings: Settings, limit: int) -> Form:
    """Return the form, filled in with what is set. `limit` is the most occupants that there may be."""
    whois = (("moderators", "Moderators only"), ("anyone", "Anyone"))
    return Form(
        (
            Field("FORM_TYPE", (ns.MUC_ROOM_CONFIG,), "hidden"),
            _text("roomname", "Name", settings.name),
            _text("roomdesc", "Description", settings.description),
            _flag("persistentroom", "Keep the room when nobody is in it", settings.persistent),
            _flag("publicroom", "List the room publicly", settings.public),
            _flag("membersonly", "Let only members in", settings.members_only),
            _flag("moderatedroom", "Let only those speak who have voice", settings.moderated),
            _flag("passwordprotectedroom", "Ask for a password", bool(settings.password)),
            Field(f"{_PREFIX}roomsecret", (settings.password,), "text-private", "Password"),
            _choice(
                "whois", "Who sees the addresses of others", "anyone" if settings.non_anonymous else "moderators", whois
            ),
            _flag("changesubject", "Let all participants change the subject", settings.open_subject),
            _text("maxusers", f"Most occupants, up to {limit}", str(settings.max_occupants or limit)),
        ),
        title="Settings of the room",
    )


def read(form: Form, settings: Settings, limit: int) -> Settings:
    """Return the settings with what a submitted form says in their place.

    Raises `BadRequest` for another form, `NotAcceptable` for what cannot be set.
    """
    # XEP-0045 section 10.1.2: an empty form takes over what is set.
    if form.get("FORM_TYPE", ns.MUC_ROOM_CONFIG) != ns.MUC_ROOM_CONFIG:
        raise BadRequest(f"The FORM_TYPE of this form is {ns.MUC_ROOM_CONFIG}")
    given = {field.var.removeprefix(_PREFIX): "".join(field.values[:1]) for field in form.fields}
    changes: dict[str, Any] = {}
    for option, attribute in _TEXTS.items():
        if option in given:
            changes[attribute] = given[option]
    for option, attribute in _SWITCHES.items():
        if option in given:
            changes[attribute] = _read_flag(option, given[option])
    if "whois" in given:
        if given["whois"] not in ("moderators", "anyone"):
            raise NotAcceptable("whois is moderators or anyone")
        changes["non_anonymous"] = given["whois"] == "anyone"
    if "maxusers" in given:
        changes["max_occupants"] = _read_limit(given["maxusers"], limit)
    changes |= _password(given, settings)
    for attribute, longest in _LONGEST.items():
        if len(changes.get(attribute, "")) > longest:
            raise NotAcceptable(f"The {attribute} of a room has at most {longest} characters")
    return replace(settings, **changes)


_TEXTS: Final = {"roomname": "name", "roomdesc": "description"}
_SWITCHES: Final = {
    "persistentroom": "persistent",
    "publicroom": "public",
    "membersonly": "members_only",
    "moderatedroom": "moderated",
    "changesubject": "open_subject",
}


def _password(given: dict[str, str], settings: Settings) -> dict[str, str]:
    secret = given.get("roomsecret", settings.password)
    if "passwordprotectedroom" in given:
        if not _read_flag("passwordprotectedroom", given["passwordprotectedroom"]):
            return {"password": ""}
        if not secret:
            raise NotAcceptable("A room that asks for a password has one")
    return {"password": secret}


def _read_flag(option: str, text: str) -> bool:
    if text not in _FLAGS:
        raise NotAcceptable(f"{option} is 0 or 1, not '{text[:_SHOWN]}'")
    return _FLAGS[text]


def _read_limit(text: str, limit: int) -> int:
    if text == "none":
        return 0
    if not _NUMBER(text) or not 1 <= int(text) <= limit:
        raise NotAcceptable(f"maxusers is a number from 1 to {limit}, or none")
    return int(text)


def _text(name: str, label: str, value: str) -> Field:
    return Field(f"{_PREFIX}{name}", (value,) if value else (), "text-single", label)


def _flag(name: str, label: str, value: bool) -> Field:
    return Field(f"{_PREFIX}{name}", ("1" if value else "0",), "boolean", label)


def _choice(name: str, label: str, value: str, options: tuple[tuple[str, str], ...]) -> Field:
    return Field(f"{_PREFIX}{name}", (value,), "list-single", label, options=options)
