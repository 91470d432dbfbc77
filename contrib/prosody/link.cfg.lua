-- Users of xmppws reach those of Prosody and their network: web.example.com is a component of Prosody (XEP-0114).
-- As /etc/prosody/conf.d/xmppws.cfg.lua. Then:
--     prosodyctl check config && systemctl restart prosody
-- The other half is link.toml.
--
-- Put a secret in place of CHANGE-ME, here and in /etc/xmppws/link.secret; make one with
--     openssl rand -hex 24
-- Components attach at 127.0.0.1:5347 (component_interfaces, component_ports); the protocol knows no TLS.

-- The users of web.example.com: alice@web.example.com has account, roster and archive at xmppws.
Component "web.example.com"
	component_secret = "CHANGE-ME"

-- Its rooms, so that users of Prosody can join them.
Component "conference.web.example.com"
	component_secret = "CHANGE-ME"
