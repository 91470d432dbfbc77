-- Print Prosody's accounts as lines for `xmppws user add --hashed --file`: the JID, and SCRAM keys as RFC 5803 writes them.
--
--     lua accounts.lua example.com /var/lib/prosody/example%2ecom/accounts/*.dat > accounts

local MECHANISMS = { [20] = "SCRAM-SHA-1", [32] = "SCRAM-SHA-256", [64] = "SCRAM-SHA-512" }
local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
	local encoded = bytes:gsub("..?.?", function (group)
		local first, second, third = group:byte(1, 3)
		local number = first * 65536 + (second or 0) * 256 + (third or 0)
		local digits = ""
		for position = 3, 0, -1 do
			local digit = math.floor(number / 64 ^ position) % 64 + 1
			digits = digits .. ALPHABET:sub(digit, digit)
		end
		return digits:sub(1, #group + 1) .. ("="):rep(3 - #group)
	end)
	return encoded
end

local function unhex(text)
	return (text:gsub("%x%x", function (byte) return string.char(tonumber(byte, 16)) end))
end

-- Returns the keys in one line, or nil and why there are none.
local function keys(account)
	if account.disabled then
		return nil, "is disabled"
	elseif account.password then
		return nil, "has a password in the clear: add it without --hashed"
	elseif not (account.salt and account.iteration_count and account.stored_key and account.server_key) then
		return nil, "has no keys"
	end
	local stored_key, server_key = unhex(account.stored_key), unhex(account.server_key)
	if not MECHANISMS[#stored_key] then
		return nil, "has keys of an unknown kind"
	end
	return ("%s$%d:%s$%s:%s"):format(
		MECHANISMS[#stored_key], account.iteration_count, base64(account.salt), base64(stored_key), base64(server_key)
	)
end

-- Returns the line of one account, or nil and why there is none.
local function line(path, host)
	local name = path:match("([^/]*)%.dat$")
	-- The files are Lua; with nothing in its reach it does nothing but return the account.
	local load, why = loadfile(path, "t", {})
	if not name or not load then
		return nil, why or "is no file of an account"
	end
	local credentials
	credentials, why = keys(load())
	return credentials and name:gsub("%%(%x%x)", unhex) .. "@" .. host .. " " .. credentials, why
end

local host = table.remove(arg, 1)
if #arg == 0 then
	io.stderr:write("usage: lua accounts.lua HOST FILE.dat ...\n")
	os.exit(2)
end
local complete = true
for _, path in ipairs(arg) do
	local account, why = line(path, host)
	if account then
		print(account)
	else
		complete = false
		io.stderr:write(path, ": ", why, "\n")
	end
end
os.exit(complete)
