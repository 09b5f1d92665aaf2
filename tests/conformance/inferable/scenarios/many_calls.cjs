// Fourteen calls at once, one of them slow.
const { POLL, call, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const service = client.service({ name: "many" });
  let working = 0;
  const seen = { most: 0, calls: [] };
  service.register({
    name: "work",
    func: async ({ number, ms }) => {
      working += 1;
      seen.most = Math.max(seen.most, working);
      seen.calls.push(number);
      await new Promise((resolve) => setTimeout(resolve, ms));
      working -= 1;
      return number;
    },
  });
  await service.start();
  const calls = Array.from({ length: 14 }, (_, number) =>
    call("many_work", { number, ms: number === 0 ? 1000 : 50 }),
  );
  const began = Date.now();
  const started = await run(client, script({ calls }, { text: "All." }));
  const done = await started.poll(POLL);
  return { status: done.status, ...seen, ms: Date.now() - began };
});
