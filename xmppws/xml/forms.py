"""XEP-0004 Data Forms: a form as a value, read from a client's submission and written for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xmppws.errors import BadRequest
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.writer import child, element

_TYPES: Final = frozenset(
    {
        "boolean",
        "fixed",
        "hidden",
        "jid-multi",
        "jid-single",
        "list-multi",
        "list-single",
        "text-multi",
        "text-private",
        "text-single",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, its values, and how it is shown. `options` are (value, label) pairs of a list."""

    var: str
    values: tuple[str, ...] = ()
    type: str = "text-single"
    label: str = ""
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """A data form. `type` is form, submit, cancel or result."""

    fields: tuple[Field, ...] = ()
    type: str = "form"
    title: str = ""
    instructions: str = ""

    def get(self, var: str, default: str = "") -> str:
        """Return the first value of a field."""
        return next((field.values[0] for field in self.fields if field.var == var and field.values), default)

    def values(self, var: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return next((field.values for field in self.fields if field.var == var), ())


def read_form(root: Element) -> Form:
    """Read a form that a client sends (XEP-0004 section 3.1). Raises `BadRequest`."""
    type = root.get("type", "")
    if type not in ("submit", "cancel", "form", "result"):
        raise BadRequest("A data form has the type form, submit, cancel or result")
    fields = tuple(_read_field(field) for field in root.findall(f"{{{ns.DATA_FORMS}}}field"))
    if len({field.var for field in fields}) != len(fields):
        raise BadRequest("A field of the form stands twice")
    return Form(fields, type)


def _read_field(root: Element) -> Field:
    var, type = root.get("var", ""), root.get("type", "text-single")
    # Section 3.3: what is not "fixed" has a var; an unknown type is text-single.
    if not var and type != "fixed":
        raise BadRequest("A field of the form has no name")
    values = tuple(value.text or "" for value in root.findall(f"{{{ns.DATA_FORMS}}}value"))
    return Field(var, values, type if type in _TYPES else "text-single")


def write_form(form: Form) -> Element:
    """Build the element of a form."""
    made = element(ns.DATA_FORMS, "x", {"type": form.type})
    if form.title:
        child(made, ns.DATA_FORMS, "title", text=form.title)
    if form.instructions:
        child(made, ns.DATA_FORMS, "instructions", text=form.instructions)
    for field in form.fields:
        _write_field(made, field)
    return made


def _write_field(form: Element, field: Field) -> None:
    made = child(form, ns.DATA_FORMS, "field", {"type": field.type, "var": field.var})
    if field.label:
        made.set("label", field.label)
    if field.required:
        child(made, ns.DATA_FORMS, "required")
    for value in field.values:
        child(made, ns.DATA_FORMS, "value", text=value)
    for value, label in field.options:
        option = child(made, ns.DATA_FORMS, "option", {"label": label} if label else {})
        child(option, ns.DATA_FORMS, "value", text=value)
