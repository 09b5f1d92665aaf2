// A token that the cluster's own function judges: its owner makes and sees runs of that token only.
const { handleCustomAuthInput } = require("inferable");
const { CLUSTER_ID, POLL, API_KEY, ENDPOINT, call, endpoints, inferable, play, script } =
  require("./common.cjs");

play(async () => {
  const client = inferable();
  const contexts = [];
  let judged = 0;
  client.default.register({
    name: "handleCustomAuth",
    schema: { input: handleCustomAuthInput },
    func: async ({ token }) => {
      judged += 1;
      if (!token.startsWith("user-")) throw new Error("nobody");
      return { userId: token };
    },
  });
  const service = client.service({ name: "whoami" });
  service.register({ name: "ask", func: async (_, { authContext }) => contexts.push(authContext) });
  await client.default.start();
  await service.start();
  await fetch(`${ENDPOINT}/clusters/${CLUSTER_ID}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ enableCustomAuth: true }),
  });

  const ada = endpoints("custom user-ada");
  const params = { clusterId: CLUSTER_ID };
  const body = { initialPrompt: script({ calls: [call("whoami_ask")] }, { text: "ok" }) };
  const made = await ada.createRun({ params, body });
  const runId = made.body.id;
  const done = await (await client.run({ id: runId })).poll(POLL);
  const see = async (who) => (await endpoints(who).getRun({ params: { ...params, runId } })).status;
  const statuses = {
    made: made.status,
    own: await see("custom user-ada"),
    earlier: await see("customer user-ada"),
    other: await see("custom user-bob"),
    nobody: await see("custom stranger"),
    services: (await ada.listServices({ params })).status,
  };
  return { status: done.status, contexts, statuses, judged };
});
