import assert from "node:assert/strict";
import { test } from "node:test";
import { clientDescriptorsMax, DescriptorLimitError } from "./descriptors.js";

test("150 descriptors are kept for the member itself, and with no more than those it does not start", () => {
  assert.equal(clientDescriptorsMax(151), 1);
  assert.equal(clientDescriptorsMax(20_000), 19_850);
  assert.equal(clientDescriptorsMax(Infinity), Infinity);
  assert.ok(clientDescriptorsMax() > 0);
  assert.throws(
    () => clientDescriptorsMax(150),
    (error) => {
      assert.ok(error instanceof DescriptorLimitError);
      assert.deepEqual(error.fields, { limit: 150, "recommended-limit": 150 });
      return true;
    },
  );
});
