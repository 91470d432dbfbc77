-- Prosody behind xmppws on the same machine, and knowing the addresses of web users, by the PROXY protocol.
-- NOT RUN BY THE TESTS, but once by hand with Prosody 0.12.3: it needs mod_net_proxy of the community modules, which
-- Debian does not have. Install it with
--     prosodyctl install --server=https://modules.prosody.im/rocks/ mod_net_proxy
-- For the global section of /etc/prosody/prosody.cfg.lua, before the first VirtualHost or Component; an option
-- that is there already is to be changed there: the last one counts.
-- The other half is upstream-proxy.toml.

-- In the list that you have:
--     modules_enabled = { ...; "net_proxy"; }

-- Connections to this port begin with a PROXY header, and are like those to 5222 then. Whoever can reach it says any
-- address that they like: it is for this machine alone.
proxy_port_mappings = { [15222] = "c2s" }
proxy_interfaces = { "127.0.0.1" }
proxy_trusted_proxies = { "127.0.0.1" }

-- As in upstream.cfg.lua. Web users have their own addresses, so limits of registrations need no line.
modules_disabled = { "websocket", "bosh" }
