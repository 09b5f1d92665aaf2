// Two services, a run over both, its result and its messages; the address may end in a slash.
const { z } = require("zod");
const { ENDPOINT, POLL, call, inferable, play, run, script } = require("./common.cjs");

play(async () => {
  const client = inferable({ endpoint: ENDPOINT + (process.argv[2] ?? ""), machineId: undefined });
  const seen = [];
  client.default.register({
    name: "sayHello",
    description: "Say hello.",
    schema: { input: z.object({ to: z.string() }) },
    func: async ({ to }, context) => {
      seen.push(context);
      return `Hello ${to}`;
    },
    config: { timeoutSeconds: 20, retryCountOnStall: 0 },
  });
  const orders = client.service({ name: "orders" });
  orders.register({ name: "count", func: async () => ({ orders: 3 }) });
  await client.default.start();
  await orders.start();

  const started = await run(
    client,
    script(
      { calls: [call("default_sayHello", { to: "John" }), call("orders_count")] },
      { result: { count: 3 } },
    ),
    {
      resultSchema: z.object({ count: z.number() }),
      attachedFunctions: [
        { service: "default", function: "sayHello" },
        { service: "orders", function: "count" },
      ],
      context: { foo: "bar" },
      metadata: { team: "sales" },
      name: "two services",
    },
  );
  const done = await started.poll(POLL);
  const { messages } = await started.messages();
  const again = await client.run({ id: started.id });
  return { done, messages, seen, again: (await again.poll(POLL)).status };
});
