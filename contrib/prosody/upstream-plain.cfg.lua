-- Prosody behind xmppws on the same machine, without TLS between them, which costs least.
-- For the global section of /etc/prosody/prosody.cfg.lua, before the first VirtualHost or Component; an option
-- that is there already is to be changed there: the last one counts. Then:
--     prosodyctl check config && systemctl restart prosody
-- The other half is upstream-plain.toml.
--
-- What it means: passwords and messages pass the loopback interface as they are. Whoever can listen there is root and
-- could read them in Prosody, too. The port must not be reachable from elsewhere: Prosody cannot ask some addresses for
-- TLS and others not, so this takes port 5222 away from all other clients. They come by TLS from the first byte, on 5223:
-- DNS needs a record _xmpps-client._tcp.example.com. Clients that do not know it (XEP-0368) need upstream.cfg.lua.

c2s_interfaces = { "127.0.0.1" }
c2s_require_encryption = false
-- Without this, browsers can log in by SCRAM only.
allow_unencrypted_plain_auth = true
c2s_direct_tls_ports = { 5223 }

-- As in upstream.cfg.lua.
modules_disabled = { "websocket", "bosh" }
registration_allowlist = { }
