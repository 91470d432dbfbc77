import pytest

from brought_in import SALT, keys
from xmppws.auth.account import Account, brought_in
from xmppws.auth.stored_keys import read
from xmppws.core.auth import InvalidPassword
from xmppws.stream.sasl.keys import derive
from xmppws.stream.sasl.scram import HASHES

# Of "pencil", with the salt of RFC 5802 section 5.
PENCIL = "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE="
SALT_64, STORED, SERVER = "QSXCR+Q6sek8bf92", "6dlGYMOdZcOPutkcNY8U2g7vK9Y=", "D+CSWLOshSulAsxiupA+qs2/fTE="


@pytest.mark.parametrize("mechanism", HASHES)
def test_keys_are_those_of_the_password(mechanism: str) -> None:
    hash_name = HASHES[mechanism]
    assert read(keys("pencil", mechanism)) == (hash_name, derive("pencil", SALT, 4096, hash_name))
    assert brought_in(keys("pencil", mechanism)) == Account({hash_name: derive("pencil", SALT, 4096, hash_name)})


def test_keys_of_the_rfc() -> None:
    hash_name, made = read(PENCIL)
    assert made == derive("pencil", made.salt, 4096, hash_name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SCRAM-SHA-1", r"are written MECHANISM\$ITERATIONS:SALT\$STOREDKEY:SERVERKEY"),
        (PENCIL.removesuffix(f":{SERVER}"), "are written"),
        (f"{PENCIL}:", "are written"),
        (f"{PENCIL}$", "are written"),
        (PENCIL.replace("4096", "-1"), "are written"),
        (PENCIL.replace("4096", "\u0664096"), "are written"),
        (PENCIL.replace("SHA-1", "SHA-224"), "for one of SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1$"),
        (PENCIL.replace("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), "for one of"),
        (PENCIL.replace("SHA", "sha"), "for one of"),
        (PENCIL.replace("4096", "0"), "iteration count must be from 4096 to 1000000"),
        (PENCIL.replace("4096", "4095"), "iteration count"),
        (PENCIL.replace("4096", "1000001"), "iteration count"),
        (PENCIL.replace("4096", "9" * 5000), "iteration count"),
        (PENCIL.replace(SALT_64, ""), "salt must have 1 to 128 bytes"),
        (PENCIL.replace(SALT_64, "AAAA" * 43), "salt must have"),
        (PENCIL.replace(SALT_64, "!" * 16), "the salt is not base64"),
        (PENCIL.replace(STORED, STORED[:-1]), "the StoredKey is not base64"),
        (PENCIL.replace(STORED, f" {STORED}"), "the StoredKey is not base64"),
        (PENCIL.replace(SERVER, "\u00e4\u00e4\u00e4\u00e4"), "the ServerKey is not base64"),
        (PENCIL.replace(STORED, ""), "the StoredKey has 0 bytes, and must have 20"),
        (PENCIL.replace(SERVER, STORED[:-4]), "the ServerKey has 18 bytes, and must have 20"),
        (PENCIL.replace("SHA-1$", "SHA-256$"), "the StoredKey has 20 bytes, and must have 32"),
    ],
)
def test_damaged_keys_are_refused_without_being_told(text: str, told: str) -> None:
    with pytest.raises(InvalidPassword, match=told) as caught:
        brought_in(text)
    assert not [part for part in (SALT_64, STORED, SERVER, "!!!") if part in str(caught.value)]


def test_what_is_no_keys_is_a_hash() -> None:
    with pytest.raises(InvalidPassword, match="no kind that can be checked"):
        brought_in("scram")
