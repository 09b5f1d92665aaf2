// Everything a function can return or throw, and what the run receives of it.
const { POLL, call, inferable, play, run, script } = require("./common.cjs");

const functions = {
  returnsUndefined: () => undefined,
  returnsNull: () => null,
  returnsZero: () => 0,
  returnsFalse: () => false,
  returnsEmptyText: () => "",
  returnsAnObject: () => ({ nested: [1, { two: null }] }),
  throwsAnError: () => {
    throw new TypeError("the stock is empty");
  },
  throwsText: () => {
    throw "only text"; // eslint-disable-line no-throw-literal
  },
  throwsAnObject: () => {
    throw { code: 7 }; // eslint-disable-line no-throw-literal
  },
  retriesOnStallOnly: () => {
    tries += 1;
    throw new Error("raised");
  },
};
let tries = 0;

play(async () => {
  const client = inferable();
  const service = client.service({ name: "results" });
  for (const [name, func] of Object.entries(functions)) {
    const config = name === "retriesOnStallOnly" ? { retryCountOnStall: 3 } : undefined;
    service.register({ name, func, config });
  }
  await service.start();
  const calls = Object.keys(functions).map((name) => call(`results_${name}`));
  const started = await run(client, script({ calls }, { text: "Seen." }));
  const done = await started.poll(POLL);
  const { messages } = await started.messages();
  const asked = messages.flatMap((message) => message.data.invocations ?? []);
  const named = Object.fromEntries(
    asked.map(({ id, toolName }) => [
      toolName,
      messages.find((message) => message.data.id === id)?.data.result,
    ]),
  );
  return { status: done.status, result: done.result, named, tries };
});
