// Package fair judges whether event loops are fair: that clients are spread evenly over
// them, that a proxy which has more to do than it can is not late with the verdicts of its
// probes, that collecting garbage delays no request, and that a program which embeds it does
// not pay with what else it serves.
//
// Other programs of the machine only ever add to what is measured. So everything is
// measured in rounds that take turns, and the least disturbed of them counts.
//
// It has tests only: go test -v ./test/fair
package fair
