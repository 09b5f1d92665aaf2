// A result that is posted a second time is answered 204, and the run says that it was not taken.
const { CLUSTER_ID, POLL, call, inferable, native, play, run, script, until } = require("./common.cjs");

const sent = [];
const plain = globalThis.fetch;
globalThis.fetch = (url, options) => {
  if (String(url).endsWith("/result")) sent.push([url, options]);
  return plain(url, options);
};

play(async () => {
  const client = inferable();
  const service = client.service({ name: "twice" });
  service.register({ name: "work", func: async () => "once" });
  await service.start();
  const started = await run(
    client,
    script({ calls: [call("twice_work")] }, { text: "ok", delayMs: 1500 }),
  );
  const events = async () =>
    (await native(`/clusters/${CLUSTER_ID}/runs/${started.id}/events`)).body.items;
  const has = (type) => async () => (await events()).some((event) => event.type === type);
  await until(has("call.finished"));
  const again = await plain(...sent[0]);
  const done = await started.poll(POLL);
  return {
    again: again.status,
    body: await again.text(),
    status: done.status,
    superseded: await has("call.superseded")(),
    finished: (await events()).filter(({ type }) => type === "call.finished").length,
  };
});
