// A function asks for an approval; somebody says yes, or no; the function is handed out again only for the yes.
const { approvalRequest } = require("inferable");
const { API_KEY, CLUSTER_ID, POLL, call, inferable, native, play, run, script, until } =
  require("./common.cjs");

const decide = (id, approved) =>
  native(`/clusters/${CLUSTER_ID}/calls/${id}/approval`, { approved }, { authorization: API_KEY });

play(async () => {
  const client = inferable();
  const service = client.service({ name: "approvals" });
  const handed = [];
  service.register({
    name: "pay",
    func: async (input, { approved }) => {
      handed.push(approved);
      return approved ? "paid" : approvalRequest();
    },
  });
  await service.start();
  const prompt = script({ calls: [call("approvals_pay")] }, { text: "ok" });
  const asked = async ({ id }) => {
    let waiting;
    await until(async () => {
      const { items } = (await native(`/clusters/${CLUSTER_ID}/approvals`)).body;
      waiting = items.find(({ runId }) => runId === id);
      return waiting;
    });
    return waiting.callId;
  };
  const resultOf = async (started) => {
    const { messages } = await started.messages();
    return messages.find(({ type }) => type === "invocation-result").data.result;
  };

  const first = await run(client, prompt);
  const yes = await asked(first);
  const paused = (await first.poll({ maxWaitTime: 300 })) ?? "still open";
  const said = await decide(yes, true);
  const done = await first.poll(POLL);
  const again = await decide(yes, true);
  const times = handed.length;

  const second = await run(client, prompt);
  await decide(await asked(second), false);
  const denied = await second.poll(POLL);
  const unknown = await decide("01UNKNOWN", true);
  return {
    paused,
    said,
    status: done.status,
    handed: handed.slice(0, times),
    result: await resultOf(first),
    again: again.status,
    unknown: [unknown.status, typeof unknown.body.message],
    denied: { status: denied.status, handed: handed.slice(times), result: await resultOf(second) },
  };
});
