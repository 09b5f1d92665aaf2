// The server forgets the service while its function works: 410, the client registers again and goes on.
const { POLL, call, inferable, native, play, run, script, until } = require("./common.cjs");

const answers = [];
const plain = globalThis.fetch;
globalThis.fetch = async (url, options) => {
  const answer = await plain(url, options);
  const about = ["/machines", "/calls?"].find((part) => String(url).includes(part));
  const registers = about === "/machines" && options.body?.includes("forgotten");
  if (registers || about === "/calls?") answers.push([about, answer.status]);
  return answer;
};
const count = (about, status) =>
  answers.filter(([path, code]) => path === about && code === status).length;

play(async () => {
  const machineId = `forgotten-${process.pid}`;
  const client = inferable({ machineId });
  const service = client.service({ name: "forgotten" });
  let times = 0;
  service.register({
    name: "work",
    func: async () => {
      times += 1;
      if (times === 1) {
        const body = { service: "forgotten", functions: [] };
        await native("/machines", body, { "x-machine-id": machineId });
      }
      return times;
    },
  });
  await service.start();
  const prompt = script({ calls: [call("forgotten_work")] }, { text: "ok" });
  const first = await (await run(client, prompt)).poll(POLL);
  await until(() => count("/calls?", 410) === 1 && count("/machines", 200) === 3);
  const second = await (await run(client, prompt)).poll(POLL);
  return { first: first.status, second: second.status, times, gone: count("/calls?", 410) };
});
