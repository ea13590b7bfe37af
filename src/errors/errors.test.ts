import assert from "node:assert/strict";
import { test } from "node:test";
import * as errors from "./index.js";
import { EtcdError, ErrCompacted, GrpcCode, grpcCodeNames, toStatus, unknownMethodError } from "./index.js";

const classes = Object.entries(errors).filter(([name]) => name.startsWith("Err")) as [string, errors.EtcdErrorClass][];

test("every error is an EtcdError with its own name, code and text", () => {
  assert.ok(classes.length > 70);
  for (const [name, Class] of classes) {
    const error = new Class();
    assert.ok(error instanceof EtcdError && error instanceof Class);
    assert.equal(error.name, name);
    assert.deepEqual([error.code, error.message], [Class.code, Class.message]);
    assert.notEqual(error.code, GrpcCode.OK);
  }
  assert.equal(new Set(classes.map(([, Class]) => Class.message)).size, classes.length);
});

test("codes have the numbers of gRPC", () => {
  assert.equal(grpcCodeNames[GrpcCode.OutOfRange], "OutOfRange");
  assert.equal(grpcCodeNames.length, 17);
  const compacted = new ErrCompacted();
  assert.equal(compacted.code, 11);
  assert.equal(compacted.message, "etcdserver: mvcc: required revision has been compacted");
});

test("what is no EtcdError goes out as Unknown with its own text", () => {
  assert.deepEqual(toStatus(new Error("disk on fire")), { code: 2, message: "disk on fire" });
  assert.deepEqual(toStatus(new ErrCompacted()), { code: 11, message: ErrCompacted.message });
});

test("unknown service and method", () => {
  const services = new Set(["etcdserverpb.KV"]);
  assert.equal(
    unknownMethodError("/etcdserverpb.KV/X", services).message,
    "unknown method X for service etcdserverpb.KV",
  );
  assert.equal(unknownMethodError("/a.B/X", services).message, "unknown service a.B");
});
