// One question, one value of a schema; or why there is none.
const { inferable, play, script } = require("./common.cjs");

play(async () => {
  const client = inferable();
  const resultSchema = {
    type: "object",
    properties: { legs: { type: "integer" } },
    required: ["legs"],
  };
  const ask = (prompt) => client.api.createStructuredOutput({ prompt, resultSchema });
  return {
    good: await ask(script({ result: { legs: 8 } })),
    bad: await ask(script()),
  };
});
