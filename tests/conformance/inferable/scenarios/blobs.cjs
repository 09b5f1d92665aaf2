// What a function shows to people and keeps from the model.
const { blob } = require("inferable");
const { CLUSTER_ID, POLL, call, endpoints, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const api = endpoints();
  const service = client.service({ name: "blobs" });
  service.register({
    name: "draw",
    func: async () => ({
      n: 1,
      table: blob({ name: "table", type: "application/json", data: { rows: [1, 2] } }),
    }),
  });
  await service.start();
  const started = await run(client, script({ calls: [call("blobs_draw")] }, { text: "ok" }));
  const { status } = await started.poll(POLL);
  const { messages } = await started.messages();
  const params = { clusterId: CLUSTER_ID, runId: started.id };
  let blobs = [];
  let after = "0";
  while (!blobs.length) {
    const { body } = await api.getRunTimeline({ params, query: { activityAfter: after } });
    blobs = body.blobs;
    after = body.activity.at(-1)?.id ?? after;
  }
  const { body } = await api.getBlobData({ params: { ...params, blobId: blobs[0].id } });
  return {
    status,
    shown: messages.find(({ type }) => type === "invocation-result").data.result.result,
    blob: { name: blobs[0].name, type: blobs[0].type, encoding: blobs[0].encoding },
    data: JSON.parse(Buffer.from(body, "base64").toString()),
  };
});
