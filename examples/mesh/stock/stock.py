"""The service stock of the example, in Python: a gRPC server in the clear, behind its sidecar.

Messages are JSON, so that no code is generated. The caller is in the metadata client-cert, which
only the sidecar can set (RFC 9440).
"""

import base64
import json
import os
import signal
from concurrent import futures

import grpc
from cryptography import x509

LISTEN = os.environ.get("LISTEN", "127.0.0.1:7301")


def caller(context):
    """The SPIFFE ID of the caller and the serial number of its certificate."""
    field = dict(context.invocation_metadata()).get("client-cert", "")
    if not field:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no client-cert: is this asked without its sidecar?")
    certificate = x509.load_der_x509_certificate(base64.b64decode(field.strip(":")))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri, format(certificate.serial_number, "x")


def take(request, context):
    uri, serial = caller(context)
    return {"item": request["item"], "left": 41, "caller": uri, "serial": serial, "instance": LISTEN}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("stock.Stock", {
            "Take": grpc.unary_unary_rpc_method_handler(
                take,
                request_deserializer=json.loads,
                response_serializer=lambda answer: json.dumps(answer).encode(),
            ),
        }),
        # grpc.health.v1 in two bytes, by which sidecars ask: the status is SERVING. The package
        # grpcio-health-checking has the whole of it.
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01"),
        }),
    ))
    server.add_insecure_port(LISTEN)
    server.start()
    print("stock: serving on", LISTEN, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
    server.wait_for_termination()


main()
