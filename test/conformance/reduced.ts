/** What of a decoded message every server must answer alike. */
import { isJsonList, isJsonObject, type Json, type JsonObject } from "../support/index.js";

/** Left out of the comparison: times, sizes and raft positions differ from run to run. */
const ignoredFields = new Set(["raft_term", "raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse"]);

const withoutIgnored = (value: Json): Json => {
  if (isJsonList(value)) return value.map((item) => withoutIgnored(item));
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).filter(([name]) => !ignoredFields.has(name));
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutIgnored(field)]));
};

/** Go's text form of a message has one space or two between fields, by a hash of the program. */
const collapseSpaces = (text: Json): Json => (typeof text === "string" ? text.replace(/ {2,}/g, " ") : text);

/** Alarms and the keys of a lease come in Go's random map order, and so do leases after a restart. */
const sortedLists = (body: JsonObject): JsonObject => {
  const sorted = (list: Json | undefined): Json =>
    isJsonList(list) ? list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : [];
  return {
    ...body,
    ...(body["alarms"] === undefined ? {} : { alarms: sorted(body["alarms"]) }),
    ...(body["leases"] === undefined ? {} : { leases: sorted(body["leases"]) }),
    ...(body["keys"] === undefined ? {} : { keys: sorted(body["keys"]) }),
    ...(body["errors"] === undefined
      ? {}
      : { errors: sorted(isJsonList(body["errors"]) ? body["errors"].map(collapseSpaces) : []) }),
  };
};

/** A message without what differs from run to run, its unordered lists in order. */
export const reduced = (body: JsonObject): JsonObject => sortedLists(withoutIgnored(body) as JsonObject);
