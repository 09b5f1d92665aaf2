// Every endpoint of the client's contract that is served, asked by the client; answers are held against the contract.
const { blob, approvalRequest } = require("inferable");
const { contract } = require("inferable/bin/contract");
const { CLUSTER_ID, POLL, call, endpoints, inferable, play, run, script, until } =
  require("./common.cjs");

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;
const revive = (value) => {
  if (typeof value === "string") return TIME.test(value) ? new Date(value) : value;
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revive(each)]));
};

play(async () => {
  const api = endpoints();
  const found = {};
  const problems = (name, { status, body }) => {
    const schema = contract[name].responses[status];
    if (schema === undefined) return [`status ${status} is not in the contract: ${JSON.stringify(body)}`];
    if (schema._def.typeName === "ZodUndefined") return [];
    const parsed = schema.safeParse(revive(body));
    return parsed.success
      ? []
      : parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  };
  const ask = async (name, params = {}, rest = {}) => {
    const answer = await api[name]({ params: { clusterId: CLUSTER_ID, ...params }, ...rest });
    found[name] ??= [];
    found[name].push({ status: answer.status, problems: problems(name, answer) });
    return answer.body;
  };

  const client = inferable();
  const shop = client.service({ name: "shop" });
  shop.register({
    name: "count",
    description: "Count what is there.",
    schema: {
      input: {
        type: "object",
        properties: { what: { type: "string" } },
        required: ["what"],
        $schema: "http://json-schema.org/draft-07/schema#",
      },
    },
    func: async () => ({ n: 3, picture: blob({ name: "all", type: "application/json", data: { a: 1 } }) }),
  });
  shop.register({
    name: "sell",
    func: async (_, { approved }) => (approved ? { sold: true } : approvalRequest()),
  });
  await shop.start();

  await ask("live");
  await ask("getContract");
  await ask("oas");
  await ask("createMachine", {}, { body: {} });
  await ask("listMachines");
  await ask("listServices");

  // Notes on functions.
  const note = { service: "shop", function: "count" };
  await ask("upsertFunctionMetadata", note, { body: { additionalContext: "Counts apples only." } });
  const noted = await ask("getFunctionMetadata", note);
  await ask("deleteFunctionMetadata", note);

  // Run configurations.
  const { id: configId } = await ask("createRunConfig", {}, {
    body: {
      name: "Counting",
      initialPrompt: script({ calls: [call("shop_count", { what: "apples" })] }, { result: { n: 3 } }),
      attachedFunctions: ["shop_count"],
      public: false,
    },
  });
  await ask("upsertRunConfig", { configId }, { body: { name: "Counting apples", public: true } });
  const config = await ask("getRunConfig", { configId }, { query: { withPreviousVersions: "true" } });
  await ask("listRunConfigs");
  const searched = await ask("searchRunConfigs", {}, { query: { search: "counting apples" } });

  // A run of one, from its beginning to its end.
  const { id: runId } = await ask("createRun", {}, {
    body: { configId, metadata: { basket: "a:1" }, interactive: true, name: "of a configuration" },
  });
  const done = await (await client.run({ id: runId })).poll(POLL);
  await ask("getRun", { runId });
  const listed = await ask("listRuns", {}, { query: { metadata: "basket:a:1", limit: 10 } });
  await ask("createFeedback", { runId }, { body: { comment: "good", score: 0.75 } });
  await ask("getRunConfigMetrics", { configId });
  const messages = await ask("listMessages", { runId });
  const timeline = await ask("getRunTimeline", { runId }, {
    query: { messagesAfter: "0", activityAfter: "0", jobsAfter: "0" },
  });
  const [job] = timeline.jobs;
  const shown = await ask("getCall", { callId: job.id });
  const data = await ask("getBlobData", { blobId: timeline.blobs[0].id });
  const references = await ask("listRunReferences", { runId }, {
    query: { token: '"n":3', before: new Date(Date.now() + 60_000).toISOString() },
  });

  // Its conversation goes on, is edited, and tried again.
  await ask("createMessage", { runId }, { body: { message: "more", type: "human" } });
  await (await client.run({ id: runId })).poll(POLL);
  const [first] = messages;
  await ask("updateMessage", { runId, messageId: first.id }, {
    body: { message: script({ result: { n: 4 } }) },
  });
  const edited = await (await client.run({ id: runId })).poll(POLL);
  await ask("createRunRetry", { runId }, { body: { messageId: first.id } });
  const retried = await (await client.run({ id: runId })).poll(POLL);

  // Calls without a run; one that a person must approve.
  const counted = await ask("createCall", {}, {
    body: { service: "shop", function: "count", input: { what: "apples" } },
    query: { waitTime: 10 },
  });
  const later = await ask("createCall", {}, {
    body: { service: "shop", function: "sell", input: {} },
    query: { waitTime: 0 },
  });
  const look = () => api.getCall({ params: { clusterId: CLUSTER_ID, callId: later.id } });
  await until(async () => (await look()).body.approvalRequested);
  await ask("createCallApproval", { callId: later.id }, { body: { approved: true } });
  await until(async () => (await look()).body.resultType === "resolution");
  const sold = (await look()).body.result;

  // As a machine.
  const machine = {
    headers: {
      "x-machine-id": "by-hand",
      "x-machine-sdk-version": "0.30.61",
      "x-machine-sdk-language": "typescript",
    },
  };
  await ask("createMachine", {}, {
    ...machine,
    body: { service: "byhand", functions: [{ name: "work" }] },
  });
  const started = await run(client, script({ calls: [call("byhand_work")] }, { text: "ok" }));
  let polled = [];
  await until(async () => {
    polled = await ask("listCalls", {}, {
      ...machine,
      query: { service: "byhand", status: "pending", acknowledge: true, limit: 10 },
    });
    return polled.length;
  });
  const callId = polled[0].id;
  await ask("createCallBlob", { callId }, {
    ...machine,
    body: { name: "b", type: "application/json", encoding: "base64", size: 4, data: "e30=" },
  });
  await ask("createCallResult", { callId }, {
    ...machine,
    body: { result: 1, resultType: "resolution", meta: { functionExecutionTime: 1 } },
  });
  await started.poll(POLL);

  // What the cluster knows.
  const events = await ask("listEvents", {}, { query: { workflowId: runId, includeMeta: "true" } });
  const meta = await ask("getEventMeta", { eventId: events[0].id });
  await ask("listUsageActivity");
  await ask("getCluster");
  await ask("updateCluster", {}, {
    body: { additionalContext: { current: { version: "1", content: "Be kind." }, history: [] } },
  });
  const cluster = await ask("getCluster");
  await ask("listClusters");
  const { id: keyId, key } = await ask("createApiKey", {}, { body: { name: "second" } });
  await ask("listApiKeys");
  const known = await endpoints(key).getCluster({ params: { clusterId: CLUSTER_ID } });
  await ask("revokeApiKey", { keyId });
  await ask("createCluster", {}, { body: { description: "another" } });
  const other = (await ask("listClusters")).find(({ description }) => description === "another");
  await ask("deleteCluster", { clusterId: other.id }, { body: undefined });
  await ask("createStructuredOutput", {}, {
    body: { prompt: script({ result: { legs: 8 } }), resultSchema: { type: "object" } },
  });

  // What is not served.
  for (const name of ["getIntegrations", "getClusterExport", "getAllKnowledgeArtifacts"])
    if (contract[name]) {
      const { status, body } = await api[name]({ params: { clusterId: CLUSTER_ID } });
      found[name] = [{ status, problems: body.error === "Not Found" ? [] : [JSON.stringify(body)] }];
    }

  await ask("deleteRunConfig", { configId }, { body: undefined });
  await ask("deleteRun", { runId }, { body: undefined });
  const gone = await api.getRun({ params: { clusterId: CLUSTER_ID, runId } });

  return {
    found,
    names: Object.fromEntries(
      Object.entries(contract).map(([name, { method, path }]) => [name, `${method} ${path}`]),
    ),
    seen: {
      noted: noted.additionalContext,
      versions: config.versions.map(({ version, name }) => [version, name]),
      config: [config.name, config.initialPrompt.length > 0, config.public],
      searched: searched.map(({ id }) => id === configId),
      done: [done.status, done.result, done.configId === configId, done.attachedFunctions],
      listed: listed.map(({ id }) => id === runId),
      job: [job.targetFn, job.status, shown.targetArgs, shown.result],
      blob: [timeline.blobs[0].name, Buffer.from(data, "base64").toString()],
      references: references.map(({ id }) => id === job.id),
      edited: edited.result,
      retried: retried.result,
      counted: [counted.status, counted.resultType, counted.result],
      later: [later.status, later.result, later.resultType],
      sold,
      meta: [meta.id === events[0].id, meta.type === events[0].type],
      additionalContext: cluster.additionalContext.current.content,
      known: known.status,
      gone: gone.status,
    },
  };
});
