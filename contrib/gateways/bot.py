"""A bot that sends back what is written to it, attached to xmppws: goes with xmppws.toml.

python3 bot.py echo.example.com /etc/xmppws/echo.secret [127.0.0.1 [5347]]

It needs slixmpp (Debian: python3-slixmpp). Every address of its domain is its own: hello@echo.example.com as well.
"""

import logging
import sys
from pathlib import Path

from slixmpp.componentxmpp import ComponentXMPP
from slixmpp.stanza import Message


class Echo(ComponentXMPP):
    """The bot. slixmpp attaches it again when the connection is lost."""

    def __init__(self, domain: str, secret: str, host: str, port: int) -> None:
        super().__init__(domain, secret, host, port)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.plugin["xep_0030"].add_identity(category="client", itype="bot", name="Echo")
        self.add_event_handler("message", self._answer)

    def _answer(self, message: Message) -> None:
        # An answer to an error would be answered with an error, for ever.
        if message["type"] in ("chat", "normal") and message["body"]:
            message.reply(message["body"]).send()


def main(domain: str, secret_file: str, host: str = "127.0.0.1", port: str = "5347") -> None:
    """Run until it is interrupted."""
    logging.basicConfig(level=logging.INFO)
    bot = Echo(domain, Path(secret_file).read_text(encoding="utf-8").strip(), host, int(port))
    bot.connect()
    bot.loop.run_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
