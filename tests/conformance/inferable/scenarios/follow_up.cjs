// A message to a run that is done begins its next turn; one that is not interactive refuses it.
const { CLUSTER_ID, POLL, inferable, play, run, script } = require("./common.cjs");
const { createApiClient } = require("inferable");

play(async () => {
  const client = inferable();
  const { API_KEY, ENDPOINT } = process.env;
  const api = createApiClient({ apiSecret: API_KEY, baseUrl: ENDPOINT });
  const send = (started, message) =>
    api.createMessage({ params: { clusterId: CLUSTER_ID, runId: started.id }, body: { message } });
  const started = await run(client, script({ result: "first" }));
  const first = await started.poll(POLL);
  const sent = await send(started, script({ result: "second" }));
  const second = await started.poll(POLL);
  const closed = await run(client, script({ result: "only" }), { interactive: false });
  await closed.poll(POLL);
  const refused = await send(closed, "more");
  const { body: listed } = await api.listRuns({ params: { clusterId: CLUSTER_ID }, query: {} });
  return {
    first: first.result,
    sent: sent.status,
    second: second.result,
    refused: { status: refused.status, message: refused.body.message },
    listed: listed.map(({ id, status }) => [id, status]).slice(0, 2),
    ids: [closed.id, started.id],
  };
});
