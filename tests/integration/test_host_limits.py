"""Limits that a virtual host has of its own hold for its clients, and for no others."""

from clients import connected, logged_in
from servers import PASSWORDS, config, running
from xmppws.config import Config, Host, HostC2S

NAMES = ("127.0.0.1",)


def two_hosts() -> Config:
    return config(
        hosts={
            "strict.example": Host(http_host=NAMES, c2s=HostC2S(max_stanza_size=20_000, max_auth_attempts=1)),
            "other.example": Host(http_host=NAMES),
        }
    )


async def test_the_largest_stanza_is_that_of_the_host() -> None:
    async with running(two_hosts()) as server:
        async with logged_in(server.url, "bob", PASSWORDS["bob"], "other.example") as bob:
            await bob.message("bob@other.example", "x" * 30_000)
            assert len(await bob.body()) == 30_000
        async with logged_in(server.url, "bob", PASSWORDS["bob"], "strict.example") as bob:
            await bob.message("bob@strict.example", "x" * 30_000)
            _, text, code = await bob.expect_end()
            assert (text.partition(":")[0], code) == ("stanza-too-large", 1009)


async def test_the_attempts_to_log_in_are_those_of_the_host() -> None:
    async with running(two_hosts()) as server:
        async with connected(server.url, "strict.example") as client:
            await client.open()
            await client.authenticate("bob", "wrong", "PLAIN")
            _, text, _ = await client.expect_end()
            assert text.startswith("too-many-attempts: ")
        async with connected(server.url, "other.example") as client:
            await client.open()
            for _ in range(2):
                failure = await client.authenticate("bob", "wrong", "PLAIN")
                assert failure[0].tag.endswith("}not-authorized")
