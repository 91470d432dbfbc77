"""XEP-0115 Entity Capabilities: what an entity is and can do, as one short string that everybody computes alike."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha1
from operator import attrgetter
from typing import Final

from xmppws.xml.forms import Form

SOFTWARE: Final = "urn:xmppws"
"""What names this software in the capabilities of its hosts."""

_FORM_TYPE: Final = "FORM_TYPE"


def verification_string(
    identities: Iterable[tuple[str, str, str, str]], features: Iterable[str], forms: Iterable[Form] = ()
) -> str:
    """Return the `ver` of service discovery information, by SHA-1 (XEP-0115 section 5.1).

    Identities are category, type, language and name, "" for an absent one. Forms without a FORM_TYPE do not count.
    """
    # Texts sort by code point, and so do their bytes in UTF-8: "i;octet" collation.
    parts = ["/".join(identity) for identity in sorted(identities)]
    parts += sorted(features)
    typed = [(form_type, form) for form in forms if (form_type := _form_type(form))]
    for form_type, form in sorted(typed, key=lambda pair: pair[0]):
        parts.append(form_type)
        for field in sorted(form.fields, key=attrgetter("var")):
            if field.var != _FORM_TYPE:
                parts += [field.var, *sorted(field.values)]
    text = "".join(f"{part}<" for part in parts)
    return b64encode(sha1(text.encode(), usedforsecurity=False).digest()).decode()


def _form_type(form: Form) -> str:
    # Section 5.4: a form whose FORM_TYPE is absent or not hidden is ignored.
    hidden = any(field.var == _FORM_TYPE and field.type == "hidden" for field in form.fields)
    return form.get(_FORM_TYPE) if hidden else ""
