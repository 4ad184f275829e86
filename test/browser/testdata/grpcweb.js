// Clients of gRPC-Web in a page. Messages are google.protobuf.StringValue: 0x0a, a length below
// 128, text. A test starts something by start, and reads from results what became of it.

const results = {};
const seen = []; // messages of streams, as they come

function start(name, f) {
  delete results[name];
  f().then(v => { results[name] = v; }, e => { results[name] = { error: String(e?.message ?? e), code: e?.code }; });
  return true;
}

function encode(text) {
  const b = new TextEncoder().encode(text);
  return Uint8Array.of(0x0a, b.length, ...b);
}

const decode = b => new TextDecoder().decode(b.subarray(2));

// call is a client of its own: fetch, and the frames of the response as they come.
async function call(url, text, { mode = "binary", signal, headers = {}, quiet = false } = {}) {
  const message = encode(text);
  const frame = Uint8Array.of(0, 0, 0, 0, message.length, ...message);
  const textual = mode === "text";
  const r = await fetch(url, {
    method: "POST", signal,
    headers: { "content-type": textual ? "application/grpc-web-text+proto" : "application/grpc-web+proto", "x-grpc-web": "1", ...headers },
    body: textual ? btoa(String.fromCharCode(...frame)) : frame,
  });
  const out = {
    http: r.status, type: r.headers.get("content-type"), messages: [],
    status: r.headers.get("grpc-status"), message: r.headers.get("grpc-message"),
    details: r.headers.get("grpc-status-details-bin"), reason: r.headers.get("poise-reason"), hidden: r.headers.get("x-hidden"),
  };
  let letters = "", rest = new Uint8Array();
  for (const reader = r.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    let bytes = value;
    if (textual) { // groups of four letters, of which any may be padded
      letters += new TextDecoder("latin1").decode(value);
      const groups = letters.slice(0, letters.length & ~3).match(/.{4}/g) ?? [];
      letters = letters.slice(letters.length & ~3);
      bytes = Uint8Array.from(groups.map(g => atob(g)).join(""), c => c.charCodeAt(0));
    }
    rest = Uint8Array.of(...rest, ...bytes);
    while (rest.length >= 5) {
      const size = new DataView(rest.buffer).getUint32(1);
      if (rest.length < 5 + size) break;
      const content = rest.slice(5, 5 + size);
      if (rest[0] & 0x80) {
        out.trailers = Object.fromEntries(new TextDecoder().decode(content).trim().split("\r\n").map(l => l.split(": ")));
        out.status = out.trailers["grpc-status"];
      } else {
        out.messages.push(decode(content));
        if (!quiet) seen.push(decode(content));
      }
      rest = rest.slice(5 + size);
    }
  }
  out.rest = rest.length + letters.length;
  return out;
}

// google is the client of the package grpc-web; format is "text", which streams, or "binary".
function google(base, format) {
  const { GrpcWebClientBase, MethodDescriptor } = grpcweb;
  const client = new GrpcWebClientBase({ format });
  const method = (name, type) => new MethodDescriptor(name, type, Object, Object, encode, b => decode(new Uint8Array(b)));
  return {
    unary: (name, text) => new Promise((resolve, reject) =>
      client.rpcCall(base + name, text, {}, method(name, "unary"), (e, v) => e ? reject(e) : resolve({ messages: [v] }))),
    stream: (name, text, take) => new Promise((resolve, reject) => {
      const s = client.serverStreaming(base + name, text, {}, method(name, "server_streaming")), messages = [];
      s.on("data", m => { messages.push(m); seen.push(m); take?.(s); });
      s.on("error", reject);
      s.on("end", () => resolve({ messages }));
    }),
  };
}

// connect is the client of Connect; its packages are modules, which the page has loaded.
async function connect(base) {
  const [{ create, createFileRegistry }, { FileDescriptorProtoSchema, file_google_protobuf_wrappers, StringValueSchema }, { createClient }, { createGrpcWebTransport }] =
    await Promise.all(["@bufbuild/protobuf", "@bufbuild/protobuf/wkt", "@connectrpc/connect", "@connectrpc/connect-web"].map(m => import(m)));
  const value = ".google.protobuf.StringValue";
  const method = (name, serverStreaming) => ({ name, inputType: value, outputType: value, serverStreaming });
  const file = create(FileDescriptorProtoSchema, {
    name: "echo.proto", package: "shop", syntax: "proto3", dependency: ["google/protobuf/wrappers.proto"],
    service: [{ name: "Echo", method: [method("Unary", false), method("Fail", false), method("Watch", true), method("Hang", true)] }],
  });
  const service = createFileRegistry(file, () => file_google_protobuf_wrappers).getService("shop.Echo");
  return { client: createClient(service, createGrpcWebTransport({ baseUrl: base })), of: value => create(StringValueSchema, { value }) };
}

// socket sends a text by a WebSocket and returns what comes back.
const socket = (url, text) => new Promise((resolve, reject) => {
  const s = new WebSocket(url);
  s.onopen = () => s.send(text);
  s.onerror = () => reject(new Error("the WebSocket has failed"));
  s.onmessage = e => { s.close(); resolve(e.data); };
});
