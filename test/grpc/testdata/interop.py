"""The interop service of gRPC and its client, on Python's grpcio.

    interop.py server MESSAGES CERTS              prints "ready on PORT"
    interop.py client MESSAGES ADDRESS CERTS CASES

MESSAGES is a file with the descriptors of grpc.testing, of which the classes of messages are made.
CERTS is a folder with ca.pem and key.pem; empty: without TLS. The cases are those of grpc/grpc,
doc/interop-test-descriptions.md.
"""

import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "grpc.testing.TestService"
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
LARGE_ASKED, LARGE_ANSWER = 271828, 314159
SIZES_ASKED, SIZES_ANSWER = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)


def load(path):
    """Returns a function that finds the class of a message by its name."""
    pool, files = descriptor_pool.DescriptorPool(), descriptor_pb2.FileDescriptorSet()
    with open(path, "rb") as f:
        files.ParseFromString(f.read())
    for one in files.file:
        pool.Add(one)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName("grpc.testing." + name))


def read(certs, name):
    with open(f"{certs}/{name}", "rb") as f:
        return f.read()


class Server:
    """The methods of the service."""

    def __init__(self, message):
        self.message = message

    def handlers(self):
        m, unary = self.message, grpc.unary_unary_rpc_method_handler
        kinds = {
            "EmptyCall": (unary, "Empty", self.empty),
            "UnaryCall": (unary, "SimpleRequest", self.unary),
            "StreamingOutputCall": (grpc.unary_stream_rpc_method_handler, "StreamingOutputCallRequest", self.output),
            "StreamingInputCall": (grpc.stream_unary_rpc_method_handler, "StreamingInputCallRequest", self.input),
            "FullDuplexCall": (grpc.stream_stream_rpc_method_handler, "StreamingOutputCallRequest", self.duplex),
        }
        return grpc.method_handlers_generic_handler(SERVICE, {
            name: kind(f, request_deserializer=m(asked).FromString, response_serializer=lambda r: r.SerializeToString())
            for name, (kind, asked, f) in kinds.items()
        })

    def echo(self, context):
        """Sends back what the client wants to see again."""
        fields = dict(context.invocation_metadata())
        if INITIAL in fields:
            context.send_initial_metadata(((INITIAL, fields[INITIAL]),))
        if TRAILING in fields:
            context.set_trailing_metadata(((TRAILING, fields[TRAILING]),))

    def status(self, asked, context):
        if asked.response_status.code:
            code = next(c for c in grpc.StatusCode if c.value[0] == asked.response_status.code)
            context.abort(code, asked.response_status.message)

    def empty(self, asked, context):
        return self.message("Empty")()

    def unary(self, asked, context):
        self.echo(context)
        self.status(asked, context)
        answer = self.message("SimpleResponse")()
        answer.payload.body = bytes(asked.response_size)
        if asked.fill_server_id:
            answer.server_id = "python"
        return answer

    def output(self, asked, context):
        for one in asked.response_parameters:
            time.sleep(one.interval_us / 1e6)
            answer = self.message("StreamingOutputCallResponse")()
            answer.payload.body = bytes(one.size)
            yield answer

    def input(self, messages, context):
        answer = self.message("StreamingInputCallResponse")()
        answer.aggregated_payload_size = sum(len(one.payload.body) for one in messages)
        return answer

    def duplex(self, messages, context):
        self.echo(context)
        for one in messages:
            self.status(one, context)
            yield from self.output(one, context)


def serve(message, certs):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((Server(message).handlers(),))
    if certs:
        creds = grpc.ssl_server_credentials([(read(certs, "key.pem"), read(certs, "ca.pem"))])
        port = server.add_secure_port("127.0.0.1:0", creds)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("ready on", port, flush=True)
    server.wait_for_termination()


class Client:
    """The cases. Each raises an error if something is not as it has to be."""

    def __init__(self, channel, message):
        self.channel, self.message = channel, message
        self.deadline = 40

    def call(self, kind, method, answer, service=SERVICE):
        return getattr(self.channel, kind)(
            f"/{service}/{method}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=self.message(answer).FromString,
        )

    def duplex(self, messages, **options):
        options.setdefault("timeout", self.deadline)
        return self.call("stream_stream", "FullDuplexCall", "StreamingOutputCallResponse")(messages, **options)

    def asks(self, answer, payload=0, **more):
        asked = self.message("StreamingOutputCallRequest")(**more)
        asked.response_parameters.add().size = answer
        asked.payload.body = bytes(payload)
        return asked

    def simple(self, **more):
        asked = self.message("SimpleRequest")(response_size=LARGE_ANSWER, **more)
        asked.payload.body = bytes(LARGE_ASKED)
        return asked

    def unary(self, asked, **options):
        options.setdefault("timeout", self.deadline)
        return self.call("unary_unary", "UnaryCall", "SimpleResponse").with_call(asked, **options)

    def empty_unary(self):
        self.call("unary_unary", "EmptyCall", "Empty")(self.message("Empty")(), timeout=self.deadline)

    def large_unary(self):
        answer, _ = self.unary(self.simple())
        same(len(answer.payload.body), LARGE_ANSWER)

    def client_streaming(self):
        def messages():
            for size in SIZES_ASKED:
                one = self.message("StreamingInputCallRequest")()
                one.payload.body = bytes(size)
                yield one
        answer = self.call("stream_unary", "StreamingInputCall", "StreamingInputCallResponse")(messages(), timeout=self.deadline)
        same(answer.aggregated_payload_size, sum(SIZES_ASKED))

    def server_streaming(self):
        asked = self.message("StreamingOutputCallRequest")()
        for size in SIZES_ANSWER:
            asked.response_parameters.add().size = size
        answers = self.call("unary_stream", "StreamingOutputCall", "StreamingOutputCallResponse")(asked, timeout=self.deadline)
        same([len(one.payload.body) for one in answers], list(SIZES_ANSWER))

    def ping_pong(self):
        turn = threading.Semaphore(1)

        def messages():
            for asked, answer in zip(SIZES_ASKED, SIZES_ANSWER):
                turn.acquire()
                yield self.asks(answer, asked)
        sizes = []
        for one in self.duplex(messages()):
            sizes.append(len(one.payload.body))
            turn.release()  # only now the next one is asked
        same(sizes, list(SIZES_ANSWER))

    def empty_stream(self):
        same(list(self.duplex(iter(()))), [])

    def timeout_on_sleeping_server(self):
        asked = self.asks(31415, 27182)
        asked.response_parameters[0].interval_us = 3_000_000
        fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.duplex(iter((asked,)), timeout=0.2)))

    def cancel_after_begin(self):
        left = threading.Event()

        def messages():
            left.wait(self.deadline)
            yield from ()
        future = self.call("stream_unary", "StreamingInputCall", "StreamingInputCallResponse").future(messages(), timeout=self.deadline)
        future.cancel()
        left.set()
        same(future.cancelled(), True)

    def cancel_after_first_response(self):
        left = threading.Event()

        def messages():
            yield self.asks(31415, 27182)
            left.wait(self.deadline)
        answers = self.duplex(messages())
        next(answers)
        answers.cancel()
        fails(grpc.StatusCode.CANCELLED, lambda: next(answers))
        left.set()

    def status_code_and_message(self):
        self.declined("test status message")

    def special_status_message(self):
        self.declined("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")

    def declined(self, text):
        status = {"code": 2, "message": text}
        asked = self.asks(1, response_status=status)
        for f in (lambda: self.unary(self.message("SimpleRequest")(response_status=status)), lambda: list(self.duplex(iter((asked,))))):
            same(fails(grpc.StatusCode.UNKNOWN, f).details(), text)

    def custom_metadata(self):
        fields = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
        _, call = self.unary(self.simple(), metadata=fields)
        answers = self.duplex(iter((self.asks(31415, 27182),)), metadata=fields)
        same(len(list(answers)), 1)
        for one in (call, answers):
            same(dict(one.initial_metadata())[INITIAL], "test_initial_metadata_value")
            same(dict(one.trailing_metadata())[TRAILING], b"\xab\xab\xab")

    def unimplemented_method(self):
        self.unimplemented(SERVICE)

    def unimplemented_service(self):
        self.unimplemented("grpc.testing.UnimplementedService")

    def unimplemented(self, service):
        call = self.call("unary_unary", "UnimplementedCall", "Empty", service)
        fails(grpc.StatusCode.UNIMPLEMENTED, lambda: call(self.message("Empty")(), timeout=self.deadline))


def same(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def fails(code, f):
    try:
        f()
    except grpc.RpcError as e:
        same(e.code(), code)
        return e
    raise AssertionError(f"succeeded, want {code}")


def judge(message, address, certs, cases):
    if certs:
        options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.default_authority", "localhost"))
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read(certs, "ca.pem")), options)
    else:
        channel = grpc.insecure_channel(address)
    for name in cases.split(","):
        print(name, flush=True)
        getattr(Client(channel, message), name)()
    channel.close()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(load(sys.argv[2]), sys.argv[3])
    else:
        judge(load(sys.argv[2]), *sys.argv[3:])
