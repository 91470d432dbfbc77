-- Prosody behind xmppws on the same machine: the accounts stay here, xmppws takes the WebSockets.
-- For the global section of /etc/prosody/prosody.cfg.lua, before the first VirtualHost or Component; an option
-- that is there already is to be changed there: the last one counts. Then:
--     prosodyctl check config && systemctl restart prosody
-- The other half is upstream.toml. Other clients go on using port 5222.

-- Two endpoints for the same accounts would only confuse: the one of xmppws is enough. Put the names into the list that
-- you have, if you have one.
modules_disabled = { "websocket", "bosh" }

-- Web users come from 127.0.0.1 now, for which limits of registrations (registration_throttle_max, where allow_registration
-- is true) do not hold unless this is said. They hold for all web users together then.
registration_allowlist = { }

-- mod_limits needs no change: it counts each connection for itself, and each web user has one here.
