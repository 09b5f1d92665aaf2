// Handler functions: every transition of a run that is done, of one that fails and of one that is cancelled.
const { onStatusChangeInput } = require("inferable");
const { CLUSTER_ID, call, inferable, native, play, run, script, until } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const service = client.service({ name: "handlers" });
  const changes = [];
  const working = [];
  const target = service.register({
    name: "tell",
    schema: { input: onStatusChangeInput },
    func: async (input, context) => {
      changes.push({ ...input, parsed: onStatusChangeInput.safeParse(input).success, context });
    },
    config: { private: true },
  });
  service.register({
    name: "wait",
    func: async (_, context) => {
      working.push(context);
      await new Promise((resolve) => setTimeout(resolve, 300));
    },
  });
  await service.start();
  const start = (prompt) =>
    run(client, prompt, {
      onStatusChange: { function: target },
      metadata: { team: "sales" },
      context: { secret: 7 },
    });
  const done = await start(script({ result: { n: 1 } }));
  const failed = await start(script());
  const cancelled = await start(script({ calls: [call("handlers_wait")] }, { text: "never" }));
  await until(() => working.length === 1);
  await native(`/clusters/${CLUSTER_ID}/runs/${cancelled.id}/cancel`, { reason: "enough" });
  const of = ({ id }) => changes.filter(({ runId }) => runId === id);
  await until(() => [done, failed, cancelled].every((each) => of(each).length >= 2));
  const shown = await cancelled.poll();
  return { done: of(done), failed: of(failed), cancelled: of(cancelled), shown };
});
