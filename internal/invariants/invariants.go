// Package invariants turns checks on that cost too much for every day: build with
// -tags invariants. A check behind Enabled may panic; without the tag the compiler drops
// it.
package invariants

// poison is a byte no head and no content of the tests consists of.
const poison = 0xDB

// Poison overwrites a buffer that is given back, up to its capacity: code that still
// uses it reads nonsense, which is found, instead of another exchange's bytes, which is
// not. The race detector does not see what the kernel writes.
func Poison(p []byte) {
	p = p[:cap(p)]
	for i := range p {
		p[i] = poison
	}
}
