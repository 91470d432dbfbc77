"""What the configuration says of tokens, and which secrets it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import jose
from xmppws.cli.main import main
from xmppws.config import ConfigError, load

ROOT = Path(__file__).parents[2]
HOST = '[hosts."a.example"]\nauthentication = ["jwt"]\n'
OTHER = "k" * 8 + "ABCDEFGH" + "12345678" + "-" * 8


def mistakes(directory: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    path = directory / "xmppws.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(path, environment or {})
    return [str(mistake).removeprefix(f"{path}:") for mistake in raised.value.mistakes]


def test_a_host_takes_over_what_top_level_says(tmp_path: Path) -> None:
    path = tmp_path / "xmppws.toml"
    (tmp_path / "secret").write_text(jose.SECRET + "\n")
    path.write_text(
        '[jwt]\nsecret = { file = "secret" }\nissuer = "i"\nkey = "key.pem"\n'
        f'{HOST}[hosts."a.example".jwt]\nissuer = ""\naudience = "chat"\n[hosts."b.example"]\n'
    )
    config = load(path, {"XMPPWS_JWT_LEEWAY": "3s"})
    own, other = config.hosts["a.example"].jwt, config.hosts["b.example"].jwt
    assert (own.secret, own.issuer, own.audience, own.leeway) == (jose.SECRET, "", "chat", 3)
    assert (other.secret, other.issuer, other.key) == (jose.SECRET, "i", f"{tmp_path}/key.pem")


def test_a_key_is_needed(tmp_path: Path) -> None:
    rule = 'with "jwt", jwt.secret, jwt.key or jwt.jwks_url must be set'
    assert mistakes(tmp_path, HOST) == [f'2: hosts."a.example".authentication: {rule}']
    assert mistakes(tmp_path, 'authentication = ["jwt"]\n[hosts.a]\n[hosts.b]\n') == [f"1: authentication: {rule}"]
    # What was wrong itself says enough.
    assert len(mistakes(tmp_path, f'[jwt]\njwks_url = "x"\n{HOST}')) == 1


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        ("x", "must have 32 bytes or more: "),
        ("abcdefghijklmnopqrstuvwxyz12345", "must have 32 bytes or more: "),
        ("abcabc" * 10, "must have 8 different characters or more: "),
        ("your-256-bit-secret-your-256-bit", "must not be an example from documentation: "),
        ("a-string-secret-at-least-256-bits-long", "must not be an example from documentation: "),
        ("My_Key:Change-Me-In-Production!-0123456789", "must not be an example from documentation: "),
        ("your-super-secret-jwt-key-change-this-in-production", "must not be an example from documentation: "),
        ("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", "must not be an"),
    ],
)
def test_weak_secrets(secret: str, rule: str, tmp_path: Path) -> None:
    for at, text in (
        ("2: jwt.secret: ", f'[jwt]\nsecret = "{secret}"\n{HOST}'),
        ('4: hosts."a.example".jwt.secret: ', f'{HOST}[hosts."a.example".jwt]\nsecret = "{secret}"\n'),
    ):
        (mistake,) = mistakes(tmp_path, text)
        assert mistake.startswith(at + rule) and f'"{secret}"' not in mistake
        path = tmp_path / "xmppws.toml"
        path.write_text(text.replace("secret =", "allow_weak_secret = true\nsecret ="))
        assert load(path).hosts["a.example"].jwt.secret == secret


def test_a_weak_secret_from_the_environment(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, HOST, {"XMPPWS_JWT_SECRET": "tops3cret"})
    assert mistake.startswith("environment: XMPPWS_JWT_SECRET: must have 32 bytes") and "tops3cret" not in mistake


def test_the_secret_of_the_local_profile_is_for_that_alone(tmp_path: Path) -> None:
    jwt = load(ROOT / "conf" / "local.toml").hosts["localhost"].jwt
    assert jwt.allow_weak_secret
    (mistake,) = mistakes(tmp_path, f'[jwt]\nsecret = "{jwt.secret}"\n{HOST}')
    assert mistake.startswith("2: jwt.secret: must not be an example from documentation")


@pytest.mark.parametrize(
    "key",
    [jose.public_pem(jose.ec_key()).decode(), '{"kty": "oct", "k": "' + OTHER + '"}'],
    ids=["PEM", "JWK"],
)
def test_a_key_of_another_kind_is_no_secret(key: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(key)
    for more in ("", "allow_weak_secret = true\n"):
        (mistake,) = mistakes(tmp_path, f'[jwt]\n{more}secret = {{ file = "secret" }}\n{HOST}')
        assert "must be a text that only both sides know" in mistake


def test_who_takes_no_tokens_may_have_any_secret(tmp_path: Path) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text('[jwt]\nsecret = "x"\n[hosts.a]\n')
    assert load(path).hosts["a"].jwt.secret == "x"


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://example.com/jwks", True),
        ("http://localhost:8080/jwks", True),
        ("http://[::1]/jwks", True),
        ("", True),
        ("http://example.com/jwks", False),
        ("http://127.0.0.1.example.com/", False),
        ("https://user:password@example.com/", False),
        ("https://example.com/#x", False),
        ("file:///etc/passwd", False),
        ("example.com", False),
    ],
)
def test_where_a_set_may_be(url: str, right: bool, tmp_path: Path) -> None:
    text = f'[jwt]\njwks_url = "{url}"\nsecret = "{OTHER}"\n{HOST}'
    if right:
        path = tmp_path / "xmppws.toml"
        path.write_text(text)
        assert load(path).hosts["a.example"].jwt.jwks_url == url
    else:
        assert "must be a URL such as" in mistakes(tmp_path, text)[0]


def test_check_config_reads_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text(f'[jwt]\nkey = "key.pem"\nusername_claim = ""\n{HOST}')
    assert main(["check-config", "-c", str(path)]) == 1
    lines = [line.removeprefix(f"{path}:") for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        f"2: jwt.key: jwt.key: {tmp_path}/key.pem cannot be read: No such file or directory",
        '3: jwt.username_claim = "": must be the name of a claim, such as "sub"',
    ]
