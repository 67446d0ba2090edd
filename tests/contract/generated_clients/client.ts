// Uses the types that openapi-typescript generated, with openapi-fetch as the client.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

declare const process: { env: Record<string, string> };

function assert(condition: boolean, found: unknown): void {
  if (!condition) throw new Error(JSON.stringify(found));
}

const client = createClient<paths>({ baseUrl: process.env.EVALHUB });
const body: components["schemas"]["JobRequest"] = {
  name: "j",
  model: { url: "http://model.test/v1", name: "m" },
  benchmarks: [{ id: "b", provider_id: "scripted", parameters: { num_examples: 3 } }],
};

const created = await client.POST("/api/v1/evaluations/jobs", { body });
const job = created.data!;
assert(created.response.status === 202, created.error);
assert(job.benchmarks![0].parameters!["num_examples"] === 3, job);

const job_id = job.resource.id;
const path = { params: { path: { job_id } } };
const got = await client.GET("/api/v1/evaluations/jobs/{job_id}", path);
assert(got.data!.resource.id === job_id, got);
const listed = await client.GET("/api/v1/evaluations/jobs", { params: { query: { limit: 10 } } });
assert(listed.data!.items.some((item) => item.resource.id === job_id), listed);

const refused = await client.POST("/api/v1/evaluations/jobs", { body: { ...body, name: "" } });
assert(refused.error!.message_code === "request_validation_failed", refused);
assert(refused.error!.errors![0].path === "name", refused);

const collection = await client.POST("/api/v1/evaluations/collections", {
  body: { name: "c", category: "x", benchmarks: [{ id: "b", provider_id: "scripted" }] },
});
const patched = await client.PATCH("/api/v1/evaluations/collections/{collection_id}", {
  params: { path: { collection_id: collection.data!.resource.id } },
  body: [{ op: "replace", path: "/name", value: "d" }],
});
assert(patched.data!.name === "d", patched);

const gone = await client.DELETE("/api/v1/evaluations/jobs/{job_id}", {
  params: { path: { job_id }, query: { hard_delete: true } },
});
assert(gone.response.status === 204, gone.error);
console.log("done");
