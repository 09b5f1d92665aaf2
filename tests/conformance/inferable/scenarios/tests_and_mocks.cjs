// A test run: a mocked function answers without a machine; the run is in no list unless tests are asked for.
const { CLUSTER_ID, POLL, call, endpoints, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const api = endpoints();
  const service = client.service({ name: "mocked" });
  let calls = 0;
  service.register({ name: "price", func: async () => (calls += 1) });
  await service.start();
  const started = await run(client, script({ calls: [call("mocked_price")] }, { text: "ok" }), {
    test: { enabled: true, mocks: { mocked_price: { output: { price: 7 } } } },
    metadata: { kind: "mocked" },
  });
  const done = await started.poll(POLL);
  const { messages } = await started.messages();
  const listed = async (query) => {
    const { body } = await api.listRuns({ params: { clusterId: CLUSTER_ID }, query });
    return body.map(({ id }) => id).includes(started.id);
  };
  return {
    done: [done.status, done.test],
    calls,
    shown: messages.find(({ type }) => type === "invocation-result").data.result.result,
    listed: [await listed({}), await listed({ test: "true" })],
  };
});
