// Preloaded into servers that would listen on every address: they get a free port of loopback, and say which.
const { Server } = require("node:net");
const { listen } = Server.prototype;
Server.prototype.listen = function (port, ...rest) {
  const callback = rest.findLast((argument) => typeof argument === "function");
  this.once("listening", () => process.stderr.write(`listening on http://127.0.0.1:${this.address().port}/mcp\n`));
  return listen.call(this, { port: 0, host: "127.0.0.1" }, callback);
};
