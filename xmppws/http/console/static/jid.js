// JIDs (RFC 7622), as far as a page needs them: localpart@domainpart/resourcepart. The server does the rest.

/** Split a JID at the first "/", then at the first "@": a resource may hold both. */
export function split(jid) {
  const [, bare, resource = ""] = /^([^/]*)(?:\/(.*))?$/su.exec(jid);
  const at = bare.indexOf("@");
  return { local: bare.slice(0, Math.max(at, 0)), domain: bare.slice(at + 1), resource };
}

/** Return the JID without its resource. */
export function bare(jid) {
  return jid.split("/", 1)[0];
}

/** Complete what somebody typed: a name alone is an account on the domain; the part before the resource has no capitals. */
export function complete(typed, domain) {
  const [, account, resource] = /^([^/]*)(.*)$/su.exec(typed.trim());
  const address = account.toLowerCase();
  return (address.includes("@") || !address ? address : `${address}@${domain}`) + resource;
}
