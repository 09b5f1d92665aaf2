// The API is killed under a client that waits, and again under a function whose result it then cannot take.
const { failure, POLL, call, hear, inferable, play, run, say, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const service = client.service({ name: "restarted" });
  let hold = false;
  let times = 0;
  service.register({
    name: "work",
    func: async () => {
      times += 1;
      if (hold) {
        hold = false;
        await say("works");
        await hear();
      }
      return times;
    },
    config: { timeoutSeconds: 1, retryCountOnStall: 2 },
  });
  await service.start();
  const prompt = script({ calls: [call("restarted_work")] }, { text: "ok" });
  await (await run(client, prompt)).poll(POLL); // it knows by now how soon to ask for calls again
  await say("waits");
  await hear();

  const poll = async (started) => {
    let done;
    for (let tries = 0; tries < 100 && !done; tries += 1) {
      if (await failure(async () => (done = await started.poll(POLL)))) {
        await new Promise((resolve) => setTimeout(resolve, 100)); // the API is away
      }
    }
    return done.status;
  };
  const began = Date.now();
  const first = await poll(await run(client, prompt));
  const ms = Date.now() - began;
  const before = times;
  hold = true;
  const second = await poll(await run(client, prompt));
  return { first, ms, before, second, after: times };
});
