// What the client says when the server refuses.
const { failure, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const stranger = inferable({ apiSecret: "sk_wrong" });
  const unfit = { type: "object", properties: { n: { type: "nummer" } } };
  return {
    stranger: await failure(() => stranger.default.start()),
    unknown: await failure(() => client.run({ id: "nobodys-run" })),
    schema: await failure(() => run(client, script(), { resultSchema: unfit })),
    form: await failure(() => run(client, 5)),
    prompt: await failure(() => client.run({})),
    timeout: (await (await run(client, script({ text: "x", delayMs: 3000 }))).poll({ maxWaitTime: 100 })) ?? "undefined",
  };
});
