/**
 * Peer URLs as a client gives them in MemberAdd: taken, refused and written as by Go's net/url and etcd's types.NewURLs.
 * Members' IDs are made of these texts, so they must be the same ones. Pure.
 */

/** Control characters, which Go's parser refuses anywhere. */
const control = /(?![\u0080-\u009f])\p{Cc}/u;
const badEscape = /%(?![0-9a-fA-F]{2})/;
/** ASCII that a host may hold as it is. */
const hostText = /^[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"\u0080-\u{10ffff}]*$/u;
const userInfo = /^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/;
const schemes = new Set(["http", "https", "unix", "unixs"]);

/** What Go's strings.TrimSpace takes off. */
const outerSpace = /^[\s\u0085]+|[\s\u0085]+$/gu;

/** The URLs sorted and as Go writes them; null: they are refused. */
export function parsePeerUrls(texts: readonly string[]): string[] | null {
  if (texts.length === 0) return null;
  const urls: string[] = [];
  for (const text of texts) {
    const url = parsePeerUrl(text.replace(outerSpace, ""));
    if (url === null) return null;
    urls.push(url);
  }
  return urls.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function parsePeerUrl(text: string): string | null {
  if (control.test(text)) return null;
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):([^?#]*)(\?[^#]*)?(#.*)?$/su.exec(text);
  if (match === null) return null;
  const [, given, rest, query = "", fragment = ""] = match;
  const scheme = given!.toLowerCase();
  if (!schemes.has(scheme) || badEscape.test(fragment)) return null;
  // Go forgets a fragment that is empty.
  const tail = `${escaped(query, false)}${fragment === "#" ? "" : escaped(fragment, false)}`;
  const isUnix = scheme.startsWith("unix");
  // Without a slash it is an opaque URL, which has no host.
  if (!rest!.startsWith("/")) return isUnix ? `${scheme}:${rest}${tail}` : null;
  const parts = /^\/\/([^/]*)(.*)$/su.exec(rest!);
  if (parts === null) return isUnix && !badEscape.test(rest!) ? `${scheme}://${escaped(rest!, true)}${tail}` : null;
  const authority = authorityOf(parts[1]!);
  const path = parts[2]!;
  if (authority === null || badEscape.test(path)) return null;
  if (!isUnix && (path !== "" || !isHostPort(authority.host))) return null;
  return `${scheme}://${authority.user}${authority.host}${escaped(path, true)}${tail}`;
}

/** What comes before the last "@", with it, and what comes behind; null: Go's parser refuses it. */
function authorityOf(text: string): { user: string; host: string } | null {
  const at = text.lastIndexOf("@");
  const user = text.slice(0, at + 1);
  const host = text.slice(at + 1);
  if (!userInfo.test(user) || badEscape.test(user)) return null;
  const bracket = host.startsWith("[") ? host.lastIndexOf("]") : 0;
  if (bracket === -1) return null;
  const port = host.startsWith("[") ? host.slice(bracket + 1) : (/:[^:]*$/u.exec(host)?.[0] ?? "");
  if (port !== "" && !/^:\d*$/.test(port)) return null;
  const zoneless = host.startsWith("[") ? host.replace(/%25[^\]]*/u, "") : host;
  return hostText.test(zoneless) ? { user, host: escaped(host, false) } : null;
}

/** As Go's net.SplitHostPort: exactly one port, and brackets about a host with colons. */
function isHostPort(host: string): boolean {
  return /^(\[[^[\]]*\]|[^:[\]]*):[^:[\]]*$/u.test(host);
}

/** Beyond ASCII, and in paths what may not stand there, as Go writes it. */
function escaped(text: string, isPath: boolean): string {
  const unsafe = isPath ? /[\u0080-\u{10ffff}]+|[ "<>\\^`{|}]/gu : /[\u0080-\u{10ffff}]+/gu;
  return text.replace(unsafe, (part) => encodeURIComponent(part));
}
