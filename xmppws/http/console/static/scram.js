// SCRAM (RFC 5802, RFC 7677) with WebCrypto: both sides prove that they know the password, and neither sends it.

/** SASL mechanism → WebCrypto's name of its hash, strongest first. */
export const HASHES = Object.freeze({
  "SCRAM-SHA-512": "SHA-512",
  "SCRAM-SHA-256": "SHA-256",
  "SCRAM-SHA-1": "SHA-1",
});

// Fewer, and a false server could guess the password from the proof (RFC 7677 section 4); more, and the page would hang.
const MIN_ITERATIONS = 4096;
const MAX_ITERATIONS = 1_000_000;

const encoder = new TextEncoder();

/** One exchange: `first()`, then `final(challenge)`, then `verify(success)`; each in the plain text that SASL sends as base64. */
export class Scram {
  #hash;
  #password;
  #bare;
  #nonce;
  #expected = "";

  constructor(mechanism, username, password, nonce = newNonce()) {
    this.#hash = HASHES[mechanism];
    // The part of SASLprep (RFC 4013) that matters in practice: different ways to type one character become the same.
    this.#password = password.normalize("NFKC");
    this.#nonce = nonce;
    // Section 5.1: "," and "=" of the name would end it.
    this.#bare = `n=${username.normalize("NFKC").replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
  }

  /** Return client-first. "n,," says: no channel binding, which a page cannot do, and no other identity. */
  first() {
    return `n,,${this.#bare}`;
  }

  /** Answer server-first with the proof. */
  async final(challenge) {
    const { r: nonce = "", s: salt = "", i: iterations = "" } = attributes(challenge);
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce) throw new Error("the server's SCRAM nonce is not ours");
    if (!(Number(iterations) >= MIN_ITERATIONS && Number(iterations) <= MAX_ITERATIONS)) {
      throw new Error(`the server asks for ${iterations} SCRAM iterations, not for ${MIN_ITERATIONS} to ${MAX_ITERATIONS}`);
    }
    const salted = await this.#stretch(fromBase64(salt), Number(iterations));
    const clientKey = await hmac(this.#hash, salted, "Client Key");
    const storedKey = new Uint8Array(await crypto.subtle.digest(this.#hash, clientKey));
    // "biws" is the base64 of "n,,".
    const withoutProof = `c=biws,r=${nonce}`;
    const authMessage = `${this.#bare},${challenge},${withoutProof}`;
    const signature = await hmac(this.#hash, storedKey, authMessage);
    const proof = clientKey.map((byte, index) => byte ^ signature[index]);
    this.#expected = `v=${toBase64(await hmac(this.#hash, await hmac(this.#hash, salted, "Server Key"), authMessage))}`;
    return `${withoutProof},p=${toBase64(proof)}`;
  }

  /** Check server-final: whoever does not know the password's keys cannot sign it. */
  verify(success) {
    if (this.#expected === "" || success !== this.#expected) throw new Error("the server could not prove that it knows the account");
  }

  async #stretch(salt, iterations) {
    const key = await crypto.subtle.importKey("raw", encoder.encode(this.#password), "PBKDF2", false, ["deriveBits"]);
    const length = { "SHA-1": 160, "SHA-256": 256, "SHA-512": 512 }[this.#hash];
    return crypto.subtle.deriveBits({ name: "PBKDF2", hash: this.#hash, salt, iterations }, key, length);
  }
}

/** Return the HMAC of a text by WebCrypto's name of a hash (RFC 2104). */
export async function hmac(hash, bytes, text) {
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function attributes(message) {
  // A value may hold "=", as base64 does; a name is one letter.
  return Object.fromEntries(message.split(",").map((part) => [part.slice(0, 1), part.slice(2)]));
}

function newNonce() {
  return toBase64(crypto.getRandomValues(new Uint8Array(18)));
}
