import pytest
from passlib import hash as kinds  # type: ignore[import-untyped]

from xmppws.auth.hashes import checked, matches
from xmppws.core.auth import InvalidPassword

# "pencil", each at the lowest cost.
HASHES = {
    "sha512_crypt": kinds.sha512_crypt.using(rounds=1000).hash("pencil"),
    "sha256_crypt": kinds.sha256_crypt.using(rounds=1000).hash("pencil"),
    "sha1_crypt": kinds.sha1_crypt.using(rounds=1).hash("pencil"),
    "md5_crypt": kinds.md5_crypt.hash("pencil"),
    "apr_md5_crypt": kinds.apr_md5_crypt.hash("pencil"),
    "scrypt": kinds.scrypt.using(rounds=1).hash("pencil"),
    "pbkdf2_sha512": kinds.pbkdf2_sha512.using(rounds=1).hash("pencil"),
    "pbkdf2_sha256": kinds.pbkdf2_sha256.using(rounds=1).hash("pencil"),
    "pbkdf2_sha1": kinds.pbkdf2_sha1.using(rounds=1).hash("pencil"),
    "phpass": kinds.phpass.using(rounds=7).hash("pencil"),
    "ldap_salted_sha512": kinds.ldap_salted_sha512.hash("pencil"),
    "ldap_salted_sha256": kinds.ldap_salted_sha256.hash("pencil"),
    "ldap_salted_sha1": kinds.ldap_salted_sha1.hash("pencil"),
    "ldap_salted_md5": kinds.ldap_salted_md5.hash("pencil"),
    "ldap_sha1": kinds.ldap_sha1.hash("pencil"),
    "ldap_md5": kinds.ldap_md5.hash("pencil"),
    "ldap_sha512_crypt": kinds.ldap_sha512_crypt.using(rounds=1000).hash("pencil"),
    "django_pbkdf2_sha256": kinds.django_pbkdf2_sha256.using(rounds=1).hash("pencil"),
    "django_pbkdf2_sha1": kinds.django_pbkdf2_sha1.using(rounds=1).hash("pencil"),
    "django_salted_sha1": kinds.django_salted_sha1.hash("pencil"),
}
BCRYPT = "$2b$12$" + "a" * 21 + "e" + "a" * 31
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWRWJTmaaJObG"


@pytest.mark.parametrize("kind", HASHES)
def test_hash_fits_its_password_alone(kind: str) -> None:
    hashed = checked(HASHES[kind])
    assert matches(hashed, {"pencil"}) and matches(hashed, {"pen", "pencil"})
    assert not matches(hashed, {"Pencil", "pencil ", ""})


@pytest.mark.parametrize("kind", HASHES)
def test_damaged_hash_is_refused_without_being_told(kind: str) -> None:
    hashed = HASHES[kind]
    for damaged in (hashed[:-1], hashed[: len(hashed) // 2], hashed + "!"):
        with pytest.raises(InvalidPassword, match=r"is damaged|no kind") as caught:
            checked(damaged)
        assert damaged not in str(caught.value)


@pytest.mark.parametrize("text", ["", "pencil", "$1$", "{SSHA}", "$9$x$y", "5f4dcc3b5aa765d61d8327deb882cf99", "\0"])
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(InvalidPassword, match=r"is damaged|no kind that can be checked: sha512_crypt, "):
        checked(text)


@pytest.mark.parametrize(("kind", "hashed"), [("bcrypt", BCRYPT), ("argon2", ARGON2)])
def test_hash_whose_library_is_not_there_is_refused(kind: str, hashed: str) -> None:
    if getattr(kinds, kind).has_backend():
        pytest.skip(f"{kind} has its library here")
    with pytest.raises(InvalidPassword, match=f"{kind} needs a library"):
        checked(hashed)


@pytest.mark.parametrize("password", ["x" * 5000, "a\0b"])
def test_password_that_a_hash_cannot_have_is_wrong(password: str) -> None:
    assert not matches(HASHES["sha512_crypt"], {password})
