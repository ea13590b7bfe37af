/**
 * The JSON that etcd keeps in `members` rows, in ConfChange contexts and in `meta` confState.
 * IDs are JSON numbers beyond 2^53, so they never pass through a JS number. The text is byte for byte
 * what Go's encoder writes (field order, omitted empties, escaped `<`, `>`, `&`), for a snapshot is a copy of rows.
 */
import type { ConfState } from "./conf-state.js";
import type { Member } from "./member.js";

/** What a ConfChange carries: the member, and whether this promotes a learner. */
export interface ConfChangeContext {
  readonly member: Member;
  readonly isPromote: boolean;
}

/** Bytes from a peer or the disk are not the JSON they should be. */
export class MembershipFormatError extends Error {
  override readonly name = "MembershipFormatError";
}

const decoder = new TextDecoder("utf-8", { fatal: false });
const encoder = new TextEncoder();
/** A JSON string, or an integer outside one. */
const stringOrInteger = /"(?:[^"\\]|\\.)*"|-?\d+(?![\d.eE])/g;

/** Parses JSON in which every integer outside a string becomes its decimal text. */
function parseIntegersAsText(bytes: Uint8Array): unknown {
  const text = decoder.decode(bytes);
  try {
    return JSON.parse(text.replace(stringOrInteger, (token) => (token[0] === '"' ? token : `"${token}"`)));
  } catch (error) {
    throw new MembershipFormatError(`not JSON: ${text.slice(0, 200)}`, { cause: error });
  }
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MembershipFormatError("JSON is not an object");
  }
  return value as Record<string, unknown>;
}

function asId(value: unknown): bigint {
  if (value === undefined || value === null) return 0n;
  if (typeof value !== "string" || !/^\d{1,20}$/.test(value)) throw new MembershipFormatError("ID is not a uint64");
  return BigInt.asUintN(64, BigInt(value));
}

function asIds(value: unknown): bigint[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new MembershipFormatError("not a list of IDs");
  return value.map(asId);
}

function asTexts(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) {
    throw new MembershipFormatError("not a list of strings");
  }
  return value as string[];
}

function memberOf(fields: Record<string, unknown>): Member {
  return {
    id: asId(fields["id"]),
    name: typeof fields["name"] === "string" ? fields["name"] : "",
    peerURLs: asTexts(fields["peerURLs"]),
    clientURLs: asTexts(fields["clientURLs"]),
    isLearner: fields["isLearner"] === true,
  };
}

/** Reads a row of `members`. */
export function parseMember(bytes: Uint8Array): Member {
  return memberOf(asObject(parseIntegersAsText(bytes)));
}

/** Reads a ConfChange's context. */
export function parseConfChangeContext(bytes: Uint8Array): ConfChangeContext {
  const fields = asObject(parseIntegersAsText(bytes));
  return { member: memberOf(fields), isPromote: fields["isPromote"] === true };
}

const escapes: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

function goString(text: string): string {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (character) => escapes[character]!);
}

/** Go writes a list that was never set as null; an empty one of ours always is one. */
function goStrings(texts: readonly string[]): string {
  return texts.length === 0 ? "null" : `[${texts.map(goString).join(",")}]`;
}

function raftAttributeFields({ peerURLs, isLearner }: Member): string[] {
  return [`"peerURLs":${goStrings(peerURLs)}`, ...(isLearner ? ['"isLearner":true'] : [])];
}

function attributeFields({ name, clientURLs }: Member): string[] {
  return [
    ...(name === "" ? [] : [`"name":${goString(name)}`]),
    ...(clientURLs.length === 0 ? [] : [`"clientURLs":${goStrings(clientURLs)}`]),
  ];
}

/** RaftAttributes of a member, as etcd's v2 store keeps them. */
export function formatRaftAttributes(member: Member): string {
  return `{${raftAttributeFields(member).join(",")}}`;
}

/** Attributes of a member, likewise. */
export function formatAttributes(member: Member): string {
  return `{${attributeFields(member).join(",")}}`;
}

/** A row of `members`, and the context of a ConfChange that adds a member (at bootstrap too) or changes its URLs. */
export function formatMember(member: Member): Uint8Array {
  return encoder.encode(
    `{${[`"id":${member.id}`, ...raftAttributeFields(member), ...attributeFields(member)].join(",")}}`,
  );
}

/** The context of a ConfChange that promotes learner `id`. */
export function formatPromoteContext(id: bigint): Uint8Array {
  return encoder.encode(`{"id":${id},"peerURLs":null,"isPromote":true}`);
}

/** Reads `meta` confState. */
export function parseConfState(bytes: Uint8Array): ConfState {
  const fields = asObject(parseIntegersAsText(bytes));
  return {
    voters: asIds(fields["voters"]),
    learners: asIds(fields["learners"]),
    votersOutgoing: asIds(fields["voters_outgoing"]),
    learnersNext: asIds(fields["learners_next"]),
    autoLeave: fields["auto_leave"] === true,
  };
}

/** `meta` confState: empty lists are left out, auto_leave never. */
export function formatConfState(state: ConfState): Uint8Array {
  const list = (name: string, ids: readonly bigint[]): string[] =>
    ids.length === 0 ? [] : [`"${name}":[${ids.join(",")}]`];
  return encoder.encode(
    `{${[
      ...list("voters", state.voters),
      ...list("learners", state.learners),
      ...list("voters_outgoing", state.votersOutgoing),
      ...list("learners_next", state.learnersNext),
      `"auto_leave":${state.autoLeave}`,
    ].join(",")}}`,
  );
}
