// Package grpctest judges Poise between clients and servers of gRPC that others have written:
//
//	interop_test.go   the interop client of grpc-go, and one in Python, through every engine to the
//	                  interop server of grpc-go and to one in Python, in the clear and by TLS
//	restart_test.go   servers that end their connections every second, and are restarted one after
//	                  the other: no call fails
//	health_test.go    probes by grpc.health.v1, of the health service that grpc-go brings along
//	page_test.go      the example of docs/grpc.md is run
//
// The module has a go.mod of its own, so that nothing of gRPC is required by Poise. make grpc runs
// it; make grpc-deps installs grpcio for Python into ~/.cache/poise-grpc before. It has tests only;
// the programs of the example are in example.
package grpctest
