// Package live judges the sources and registrars by the real servers of the registries:
// poise run stands in front of HTTP endpoints that register themselves, a load runs through
// it without a pause, and meanwhile endpoints come and go, and the registry is restarted,
// loses its data, hangs, or is cut off. Not one request may fail that an endpoint could have
// answered, and what changes in the registry must be seen as soon as its official client
// sees it.
//
// make live-deps installs the servers, and make live runs the tests and prints a table of
// the times. LIVE_ONLY=etcd34,consul selects; LIVE_PARALLEL is how many registries are
// judged at once (3). It has tests only.
//
// Servers listen on 127.0.0.1, but for the gRPC port of Nacos and its port for other
// servers, which have no such setting, and for endpoints in Kubernetes, whose API refuses
// loopback addresses.
package live
