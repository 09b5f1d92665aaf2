// What clients after 0.30.61 send: tools without a service, jobs, ids and tags of the caller's, interrupts.
const { API_KEY, CLUSTER_ID, call, native, play, script, until } = require("./common.cjs");

const headers = {
  authorization: API_KEY,
  "x-machine-id": "later",
  "x-machine-sdk-version": "0.30.120",
  "x-machine-sdk-language": "typescript",
};
const ask = (path, body) => native(`/clusters/${CLUSTER_ID}${path}`, body, headers);

play(async () => {
  const tools = [{ name: "lookup" }, { name: "choose" }, { name: "wait" }];
  const registered = (await native("/machines", { tools }, headers)).status;
  const jobs = async (names) => {
    let found = [];
    await until(async () => {
      const asked = `/jobs?tools=${names}&status=pending&acknowledge=true&limit=10&waitTime=20`;
      found = (await ask(asked)).body;
      return found.length;
    });
    return found;
  };
  const started = await ask("/runs", {
    id: "later-1",
    initialPrompt: script(
      { calls: [call("default_lookup"), call("default_choose")] },
      { result: { ok: true } },
    ),
    tools: ["lookup", "choose"],
    tags: { team: "later" },
  });
  const handed = [];
  while (handed.length < 2) handed.push(...(await jobs("lookup,choose")));
  const of = (name) => handed.find((job) => job.function === name).id;
  const result = (id, body) => ask(`/jobs/${id}/result`, { meta: {}, ...body });
  const general = await result(of("choose"), {
    resultType: "interrupt",
    result: { type: "general" },
  });
  const asked = await result(of("lookup"), {
    resultType: "interrupt",
    result: { type: "approval", notification: { message: "May I look?" } },
  });
  const waiting = (await native(`/clusters/${CLUSTER_ID}/approvals`)).body.items.find(
    ({ callId }) => callId === of("lookup"),
  );
  await ask(`/jobs/${of("lookup")}/approval`, { approved: true });
  const [again] = await jobs("lookup");
  await result(again.id, { resultType: "resolution", result: { found: 1 } });
  let run;
  await until(async () => {
    run = (await ask("/runs/later-1")).body;
    return run.status === "done";
  });
  const chosen = (await ask(`/jobs/${of("choose")}`)).body;

  const direct = (await ask("/jobs?waitTime=0", { service: "default", function: "wait", input: {} }))
    .body;
  const cancelled = (await ask(`/jobs/${direct.id}/cancel`, {})).status;
  return {
    registered,
    started: started.body,
    general: general.status,
    asked: asked.status,
    message: waiting.message,
    approved: again.approved,
    result: run.result,
    metadata: run.metadata,
    chosen: [chosen.resultType, chosen.result],
    direct: direct.status,
    cancelled,
  };
});
