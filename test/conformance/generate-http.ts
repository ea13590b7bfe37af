/**
 * Bad and odd input over HTTP/1.1: malformed JSON, wrong types, wrong methods and paths, and the
 * plain endpoints with their parameters.
 */
import type { Prng } from "../support/index.js";
import type { Context } from "./generate-kv.js";
import type { HttpOperation } from "./operation.js";

const http = (
  note: string,
  method: string,
  path: string,
  body = "",
  headers: Readonly<Record<string, string>> = {},
): HttpOperation => ({ kind: "http", method, path, headers, body, note });

const rangePath = "/v3/kv/range";
const putPath = "/v3/kv/put";

/** Bodies for a range of key "a" ("YQ=="), most of them wrong in one way. */
const rangeBodies: readonly string[] = [
  "",
  "null",
  "{}",
  "[]",
  "{",
  "}",
  "[",
  '"x"',
  "1",
  "true",
  "nonsense",
  " ",
  '{"key":"YQ=="',
  '{"key":"YQ==",',
  '{"key":"YQ==",}',
  '{"key":"YQ=="}}',
  '{"key":"YQ=="} {"key":"Yg=="}',
  '{"key":"YQ=="}\n',
  '{"key":"YQ=="}garbage',
  '{"key" "YQ=="}',
  '{"key"::"YQ=="}',
  "{key:1}",
  "{'key':'YQ=='}",
  '{"key":"YQ=="  ,  "limit" : 2 }',
  '{"key":"YQ"}',
  '{"key":"Y"}',
  '{"key":"***"}',
  '{"key":"YQ==="}',
  '{"key":"YQ==\\u0041"}',
  '{"key":"\\u0059\\u0051=="}',
  '{"key":"\\x"}',
  '{"key":"\\ud800"}',
  '{"key":"\n"}',
  '{"key":1}',
  '{"key":true}',
  '{"key":null}',
  '{"key":["YQ=="]}',
  '{"key":{"a":1}}',
  '{"key":"YQ==","key":"Yg=="}',
  '{"key":"YQ==","rangeEnd":"Yg==","range_end":"Yg=="}',
  '{"key":"YQ==","limit":"2"}',
  '{"key":"YQ==","limit":" 2"}',
  '{"key":"YQ==","limit":"+2"}',
  '{"key":"YQ==","limit":"0x2"}',
  '{"key":"YQ==","limit":"02"}',
  '{"key":"YQ==","limit":02}',
  '{"key":"YQ==","limit":2.0}',
  '{"key":"YQ==","limit":2.5}',
  '{"key":"YQ==","limit":2e0}',
  '{"key":"YQ==","limit":20e-1}',
  '{"key":"YQ==","limit":"2.0"}',
  '{"key":"YQ==","limit":1e400}',
  '{"key":"YQ==","limit":9223372036854775808}',
  '{"key":"YQ==","limit":"9223372036854775808"}',
  '{"key":"YQ==","limit":-9223372036854775809}',
  '{"key":"YQ==","limit":-9223372036854775808}',
  '{"key":"YQ==","limit":""}',
  '{"key":"YQ==","limit":true}',
  '{"key":"YQ==","limit":null}',
  '{"key":"YQ==","limit":-0}',
  '{"key":"YQ==","limit":.5}',
  '{"key":"YQ==","limit":1.}',
  '{"key":"YQ==","limit":NaN}',
  '{"key":"YQ==","serializable":"true"}',
  '{"key":"YQ==","serializable":1}',
  '{"key":"YQ==","serializable":True}',
  '{"key":"YQ==","sort_order":"DESCEND"}',
  '{"key":"YQ==","sort_order":"descend"}',
  '{"key":"YQ==","sort_order":"NOPE"}',
  '{"key":"YQ==","sort_order":9}',
  '{"key":"YQ==","sort_order":"1"}',
  '{"key":"YQ==","sort_order":1.0}',
  '{"key":"YQ==","sort_order":1.5}',
  '{"key":"YQ==","sort_order":4294967296}',
  '{"key":"YQ==","sort_order":null}',
  '{"key":"YQ==","no":"such","fields":[1,{"x":null}]}',
  '{"key":"YQ==","no":nonsense}',
  '{"Key":"YQ=="}',
  '{"KEY":"YQ=="}',
  '{"key":"YQ==","Limit":1}',
  '{"@type":"x","key":"YQ=="}',
  '{"[ext]":1,"key":"YQ=="}',
  '{"":1,"key":"YQ=="}',
  '{"1":"YQ=="}',
  "\ufeff{}",
  "\u0000",
  '{"key":"\u00ff"}',
  '{"key":"YQ=="/*x*/}',
];

const txnBodies: readonly string[] = [
  '{"success":{}}',
  '{"success":[]}',
  '{"success":[null]}',
  '{"success":[{}]}',
  '{"success":[{"request_range":{"key":"YQ=="}}]}',
  '{"success":[{"requestRange":{"key":"YQ=="}},]}',
  '{"success":[{"request_range":null}]}',
  '{"success":[{"request_range":{"key":"YQ=="},"request_put":{"key":"YQ=="}}]}',
  '{"success":[{"request_range":{"key":"YQ=="},"request_put":null}]}',
  '{"compare":[{"key":"YQ==","version":"1","value":"YQ=="}]}',
  '{"compare":[{"key":"YQ==","version":"1","result":"LESS","target":"VERSION"}]}',
  '{"compare":[{"key":"YQ==","version":"1","result":"less"}]}',
  '{"compare":[{"key":"YQ==","version":1,"version":1}]}',
  '{"compare":[{"key":"YQ==","create_revision":0,"target":"CREATE"}],"failure":[{"request_range":{"key":"YQ=="}}]}',
  '{"compare":"x"}',
  '{"failure":[[{}]]}',
];

const badJson = (prng: Prng): HttpOperation => {
  if (prng.oneIn(5)) return http("txn body", "POST", "/v3/kv/txn", prng.pick(txnBodies));
  const body = prng.pick(rangeBodies);
  const path = prng.oneIn(8) ? putPath : rangePath;
  return http("range body", "POST", path, body);
};

/** A good body with one character changed, removed or doubled. */
const damagedJson = (prng: Prng): HttpOperation => {
  const body = '{"key":"YQ==","range_end":"eg==","limit":"3","sort_order":"DESCEND","keys_only":true}';
  const at = prng.below(body.length);
  const changed = prng.pick(["", '"', "}", "{", ",", ":", "\\", "\u0001", "0", "x", " ", "]"]);
  return http("damaged body", "POST", rangePath, body.slice(0, at) + changed + body.slice(at + 1));
};

const paths: readonly (readonly [string, string])[] = [
  ["GET", rangePath],
  ["PUT", rangePath],
  ["DELETE", putPath],
  ["HEAD", rangePath],
  ["PATCH", putPath],
  ["OPTIONS", rangePath],
  ["POST", "/v3/kv/rangestream"],
  ["POST", "/v3/kv/range/"],
  ["POST", "/v3/kv"],
  ["POST", "/v3/"],
  ["POST", "/v3"],
  ["POST", "/v3/kv/Range"],
  ["POST", "/v3/kv//range"],
  ["POST", "/v3/kv/../kv/range"],
  ["POST", "/v3/kv/./range"],
  ["POST", "/v3/kv/range?key=YQ=="],
  ["POST", "/v3/kv/range?limit=1&x=%zz"],
  ["POST", "/v3/kv/range#x"],
  ["POST", "/v3/kv/%72ange"],
  ["POST", "/v3/kv/ran%2fge"],
  ["POST", "/v3/kv/%zz"],
  ["POST", "/v3/no/such"],
  ["POST", "/v3alpha/kv/range"],
  ["POST", "/v3beta/kv/range"],
  ["POST", "/v3beta/no/such"],
  ["POST", "/v2/keys"],
  ["GET", "/v2/keys/a"],
  ["GET", "/"],
  ["POST", "/"],
  ["GET", "/nothing"],
  ["GET", "/health"],
  ["GET", "/health/"],
  ["HEAD", "/health"],
  ["POST", "/health"],
  ["PUT", "/health"],
  ["GET", "/health?serializable=true"],
  ["GET", "/health?serializable=false"],
  ["GET", "/health?exclude=NOSPACE"],
  ["GET", "/health?exclude=CORRUPT&exclude=NOSPACE"],
  ["GET", "/health?exclude=nonsense"],
  ["GET", "/version"],
  ["POST", "/version"],
  ["HEAD", "/version"],
  ["GET", "/version/"],
  ["POST", "/metrics/x"],
  ["GET", "/config/local/log"],
];

const headerVariants: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["origin", { Origin: "http://elsewhere" }],
  ["form content type", { "Content-Type": "application/x-www-form-urlencoded" }],
  ["json content type", { "Content-Type": "application/json" }],
  ["text content type", { "Content-Type": "text/plain; charset=latin1" }],
  ["accept html", { Accept: "text/html" }],
  ["authorization", { Authorization: "abc.1" }],
  ["grpc metadata", { "Grpc-Metadata-Hasleader": "true" }],
  ["client api version", { "Grpc-Metadata-Client-Api-Version": "3.7" }],
  ["timeout", { "Grpc-Timeout": "10S" }],
  ["bad timeout", { "Grpc-Timeout": "10" }],
  ["foreign host", { Host: "elsewhere.example" }],
  ["method override", { "X-HTTP-Method-Override": "GET" }],
];

/** The same body in chunks, right and wrong. */
const chunkedBodies: readonly (readonly [string, string])[] = [
  ["one chunk", 'e\r\n{"key":"YQ=="}\r\n0\r\n\r\n'],
  ["three chunks", '3\r\n{"k\r\n8\r\ney":"YQ=\r\n3\r\n="}\r\n0\r\n\r\n'],
  ["length in capitals", 'E\r\n{"key":"YQ=="}\r\n0\r\n\r\n'],
  ["no chunk at all", "0\r\n\r\n"],
];

const chunked = (note: string, body: string): HttpOperation =>
  http(`chunked: ${note}`, "POST", rangePath, body, { "Transfer-Encoding": "chunked" });

const oddHeaders = (prng: Prng): HttpOperation => {
  if (prng.oneIn(4)) return chunked(...prng.pick(chunkedBodies));
  const [note, headers] = prng.pick(headerVariants);
  return http(note, "POST", rangePath, '{"key":"YQ=="}', headers);
};

const oddPath = (prng: Prng): HttpOperation => {
  const [method, path] = prng.pick(paths);
  const body = method === "POST" && prng.oneIn(2) ? '{"key":"YQ=="}' : "";
  return http("path", method, path, body, prng.oneIn(6) ? { Origin: "http://elsewhere" } : {});
};

/** Some bad or odd input over HTTP. */
export const someHttp = ({ prng }: Context): HttpOperation => {
  switch (prng.weighted({ json: 55, damaged: 15, path: 25, headers: 8 })) {
    case "json":
      return badJson(prng);
    case "damaged":
      return damagedJson(prng);
    case "path":
      return oddPath(prng);
    case "headers":
      return oddHeaders(prng);
  }
};

/** Each HTTP operation once: what a random run may miss. */
export const everyHttp = (): HttpOperation[] => [
  ...rangeBodies.map((body) => http("range body", "POST", rangePath, body)),
  ...txnBodies.map((body) => http("txn body", "POST", "/v3/kv/txn", body)),
  ...paths.map(([method, path]) => http("path", method, path)),
  ...chunkedBodies.map(([note, body]) => chunked(note, body)),
  ...headerVariants.map(([note, headers]) => http(note, "POST", rangePath, '{"key":"YQ=="}', headers)),
];
