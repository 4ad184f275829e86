// Package real judges Poise by real programs: nginx serves three sites, poise run stands
// in front of them with the configuration file of its own documentation, and curl, wrk
// and a load of ours go through it, while endpoints stop and start and files change.
//
// It has tests only: go test ./test/real
package real
