// How long a run with one call takes, from run() to poll()'s result, at the client's own pace.
const { POLL, call, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const service = client.service({ name: "quick" });
  service.register({ name: "work", func: async () => 1 });
  await service.start();
  const prompt = script({ calls: [call("quick_work")] }, { text: "ok" });
  const attachedFunctions = [{ service: "quick", function: "work" }];
  const milliseconds = [];
  for (let number = 0; number < 15; number += 1) {
    const began = performance.now();
    const done = await (await run(client, prompt, { attachedFunctions })).poll(POLL);
    if (done.status !== "done") throw new Error(done.failureReason);
    milliseconds.push(Math.round(performance.now() - began));
  }
  return milliseconds;
});
