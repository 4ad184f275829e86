package grpc

// grpc-timeout: how long the client will wait, from the moment at which it sent the request.
// At most eight digits, which must be there, and one letter:
//
//	H hours   M minutes   S seconds   m milliseconds   u microseconds   n nanoseconds

import (
	"math"
	"strconv"
	"time"
)

// digitsMax is how many digits a timeout may have.
const digitsMax = 8

// ParseTimeout reads a value of grpc-timeout. What is longer than a Duration can be is the
// longest one. ok false: it is none.
func ParseTimeout(v []byte) (d time.Duration, ok bool) {
	last := len(v) - 1
	if last < 1 || last > digitsMax {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range v[:last] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + time.Duration(c-'0')
	}
	unit := unitOf(v[last])
	if unit == 0 {
		return 0, false
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64, true
	}
	return n * unit, true
}

// unitOf is the length of the unit with that letter; 0: there is none.
func unitOf(letter byte) time.Duration {
	switch letter {
	case 'H':
		return time.Hour
	case 'M':
		return time.Minute
	case 'S':
		return time.Second
	case 'm':
		return time.Millisecond
	case 'u':
		return time.Microsecond
	case 'n':
		return time.Nanosecond
	}
	return 0
}

// AppendTimeout appends d as grpc-timeout has it, in the finest unit that eight digits have room
// for. It rounds up, so that the peer never gives up before the one who asked; d below a
// nanosecond is one.
func AppendTimeout(dst []byte, d time.Duration) []byte {
	const most = 99_999_999
	d = max(d, 1)
	for _, letter := range []byte("numSMH") {
		unit := unitOf(letter)
		n := d / unit
		if d%unit != 0 {
			n++
		}
		if n <= most {
			return append(strconv.AppendInt(dst, int64(n), 10), letter)
		}
	}
	panic("grpc: a Duration has fewer hours than fit") // 2,562,047
}
