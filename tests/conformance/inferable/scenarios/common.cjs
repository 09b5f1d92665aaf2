// What scenarios share. They use the package as its users do; nothing in it is replaced.
const { Inferable, createApiClient } = require("inferable");
const readline = require("node:readline");

const { ENDPOINT, API_KEY, CLUSTER_ID } = process.env;
const POLL = { maxWaitTime: 30_000 };

console.error = () => {}; // the package reports every service that stops there

const inferable = (options = {}) =>
  new Inferable({
    apiSecret: API_KEY,
    endpoint: ENDPOINT,
    machineId: `conformance-${process.pid}`,
    ...options,
  });

// A prompt for the model that plays scripts.
const script = (...steps) => JSON.stringify(steps);
const call = (name, input = {}) => ({ function: name, input });

// Its lower half: every endpoint of its contract, by name.
const endpoints = (apiSecret = API_KEY) =>
  createApiClient({ baseUrl: ENDPOINT, apiSecret, machineId: `conformance-${process.pid}` });

const run = async (client, prompt, options = {}) =>
  client.run({ initialPrompt: prompt, ...options });

// Ask the server in its own manner.
const native = async (path, body, headers = {}) => {
  const response = await fetch(`${ENDPOINT}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      authorization: `Bearer ${API_KEY}`,
      "content-type": "application/json",
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
};

const say = (word, value = null) =>
  new Promise((resolve) => {
    process.stdout.write(`${JSON.stringify({ [word]: value })}\n`, resolve);
  });

const lines = [];
const hearers = [];
let input;
const hear = () => {
  input ??= readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const hearer = hearers.shift();
    hearer ? hearer(line) : lines.push(line);
  });
  return lines.length ? lines.shift() : new Promise((resolve) => hearers.push(resolve));
};

const until = async (condition, ms = 20_000) => {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

const failure = async (action) => {
  try {
    await action();
    return null;
  } catch (error) {
    return { message: error.message, ...error.meta };
  }
};

// Play a scenario; what it returns is its end.
const play = (scenario) =>
  scenario()
    .then((found) => say("end", found))
    .then(() => process.exit(0))
    .catch((error) => {
      process.stderr.write(`${error.stack} ${JSON.stringify(error.meta)}\n`);
      process.exit(1);
    });

module.exports = {
  API_KEY,
  CLUSTER_ID,
  ENDPOINT,
  POLL,
  call,
  endpoints,
  failure,
  hear,
  inferable,
  native,
  play,
  run,
  say,
  script,
  until,
};
